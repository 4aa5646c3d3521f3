"use strict";
const filter = document.getElementById("filter");

function show() {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const operation of document.querySelectorAll(".operation")) {
    const text = operation.textContent.toLowerCase();
    operation.hidden = !words.every((word) => text.includes(word));
    const link = document.querySelector(`nav a[href="#${operation.id}"]`);
    link.parentElement.hidden = operation.hidden;
  }
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

if (filter) {
  filter.addEventListener("input", show);
  window.addEventListener("hashchange", open);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== filter) {
      event.preventDefault();
      filter.focus();
    } else if (event.key === "Escape" && document.activeElement === filter) {
      filter.value = "";
      show();
      filter.blur();
    }
  });
  open();
}
