// The console's page. It asks the gateway once a second and draws what it says; everything is text, nothing is taken as HTML.
const KEPT = 120; // seconds of the small curves
const BEHIND = 1000; // records that a stage may have before it without anybody having to look
const OUTCOMES = ["confirmed", "rejected", "payment_failed", "expired", "cancelled", "shipped", "returned"];
const at = (id) => document.getElementById(id);
const past = {};
let key = sessionStorage.getItem("holdfast.key") ?? "";

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  if (text !== "") made.textContent = text;
  if (className) made.className = className;
  return made;
}

const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 }));
const words = (name) => name.replaceAll("_", " ");

async function ask(path) {
  const answer = await fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {}, cache: "no-store" });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(said.detail ?? `status ${answer.status}`), { status: answer.status });
  return said;
}

function say(text, bad = false) {
  const state = at("state");
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("bad", bad);
}

function curve(values) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const most = Math.max(1, ...values);
  const points = values.map((value, i) => `${(100 * (i + KEPT - values.length)) / (KEPT - 1)},${30 - (28 * value) / most}`);
  svg.setAttribute("viewBox", "0 0 100 32");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}

function card(name, value, unit, bad = false) {
  const values = (past[name] ??= []);
  values.push(Number(value) || 0);
  if (values.length > KEPT) values.shift();
  const made = make("div", "", bad ? "number-card bad" : "number-card");
  made.append(make("b", count(value)), make("span", `${name}${unit}`), curve(values));
  return made;
}

function drawNumbers(sight) {
  const rate = sight.per_second;
  const behind = sight.lag.reduce((sum, each) => sum + each.records, 0);
  const dead = Object.values(sight.dead_letters).reduce((sum, each) => sum + each, 0);
  at("numbers").replaceChildren(
    card("order lines", rate.order_lines, "/s"),
    card("decisions", rate.line_decisions, "/s"),
    card("orders decided", rate.orders_decided, "/s"),
    card("placed to decided, p50", sight.latency.p50_ms, " ms"),
    card("placed to decided, p99", sight.latency.p99_ms, " ms"),
    card("lag", behind, " records", behind > 10 * BEHIND),
    card("dead letters", dead, " open", dead > 0),
  );
}

function drawOutcomes(sight) {
  const most = Math.max(1, ...OUTCOMES.map((name) => sight.seen[name] ?? 0));
  at("outcomes").replaceChildren(...OUTCOMES.map((name) => {
    const row = make("div", "", "bar-row");
    const bar = make("div", "", "bar");
    const part = make("i", "", { confirmed: "available", shipped: "shipped", returned: "shipped" }[name] ?? "reserved");
    part.style.width = `${(100 * (sight.seen[name] ?? 0)) / most}%`;
    bar.append(part);
    row.append(make("span", words(name)), bar, make("small", `${count(sight.per_second[name] ?? 0)}/s · ${count(sight.seen[name] ?? 0)} while watching`));
    return row;
  }));
}

function cells(row, ...texts) {
  row.append(...texts.map(([text, className]) => make("td", text, className)));
  return row;
}

function drawTables(sight) {
  at("lag").replaceChildren(...sight.lag.map((each) => cells(make("tr"), [each.stage, ""], [each.topic, ""], [count(each.records), each.records > BEHIND ? "number behind" : "number"])));
  const letters = Object.entries(sight.dead_letters).sort();
  at("dead").replaceChildren(...(letters.length ? letters.map(([reason, many]) => cells(make("tr"), [reason, ""], [count(many), "number bad"])) : [cells(make("tr"), ["none", ""], ["0", "number"])]));
}

function stockBar(level) {
  const all = Math.max(1, level.available + level.reserved + level.shipped);
  const bar = make("div", "", "bar");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", `${level.available} available, ${level.reserved} reserved, ${level.shipped} shipped`);
  for (const name of ["available", "reserved", "shipped"]) {
    const part = make("i", "", name);
    part.style.width = `${(100 * level[name]) / all}%`;
    bar.append(part);
  }
  return bar;
}

function drawHottest(sight) {
  const focused = document.activeElement?.dataset?.product;
  at("hottest").replaceChildren(...sight.hottest.map((each) => {
    const row = make("div", "", "bar-row");
    const name = make("button", each.product_id);
    name.type = "button";
    name.dataset.product = each.product_id;
    name.title = `What happened to ${each.product_id}`;
    name.addEventListener("click", () => tell("products", each.product_id));
    row.append(name, stockBar(each), make("small", `${count(each.available)} available · ${count(each.reserved)} reserved · ${count(each.shipped)} shipped`));
    return row;
  }));
  if (!sight.hottest.length) at("hottest").append(make("p", "Nothing moves."));
  if (focused) [...at("hottest").querySelectorAll("button")].find((each) => each.dataset.product === focused)?.focus();
}

function draw(sight) {
  drawNumbers(sight);
  drawOutcomes(sight);
  drawTables(sight);
  drawHottest(sight);
}

async function look() {
  try {
    const sight = await ask("/console/sight");
    at("enter").hidden = true;
    at("shop").hidden = false;
    if (sight.problem) say(sight.problem === "looking" ? "Looking…" : sight.problem, sight.problem !== "looking");
    else {
      say(`Live · ${new Date(sight.at * 1000).toLocaleTimeString()}`);
      draw(sight);
    }
  } catch (error) {
    if (error.status === 401 || error.status === 403) return askForKey(error.message);
    say(`The gateway does not answer: ${error.message}`, true);
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

function askForKey(why) {
  say(key ? why : "Give a key to look", Boolean(key));
  at("shop").hidden = true;
  at("enter").hidden = false;
  at("key").focus();
}

function step(title, when, place, detail) {
  const made = make("div", "", "step");
  made.append(make("b", title), make("span", " "), make("small", new Date(when).toISOString().replace("T", " ").slice(0, 23)), make("span", " "), make("code", place));
  const list = make("dl");
  for (const [name, value] of Object.entries(detail)) {
    if (value === "" || value === null || (Array.isArray(value) && !value.length)) continue;
    list.append(make("dt", words(name)), make("dd", typeof value === "object" ? JSON.stringify(value) : String(value)));
  }
  made.append(list);
  return made;
}

const ofOrder = (said) => said.events.map((e) => step(words(e.what), e.at, `${e.topic} ${e.partition}-${e.offset}`, { ...e.detail, actor: e.actor }));
const ofProduct = (said) => said.movements.toReversed().map((m) => {
  const made = step(m.refusal ? `${m.what} refused` : m.what, m.at, `${m.topic} ${m.partition}-${m.offset}`,
    { units: m.quantity, refusal: m.refusal, order: m.order_id, command: m.command_id, actor: m.actor, version: m.version });
  made.append(stockBar(m.after));
  return made;
});

async function tell(kind, id) {
  at("story-title").textContent = `${kind === "orders" ? "Order" : "Product"} ${id}`;
  at("story-state").textContent = "Reading the log…";
  at("story-body").replaceChildren();
  if (!at("story").open) at("story").showModal();
  try {
    const said = await ask(`/console/${kind}/${encodeURIComponent(id)}`);
    const steps = kind === "orders" ? ofOrder(said) : ofProduct(said);
    at("story-state").textContent = kind === "orders" ? `${steps.length} steps` : `${count(said.all)} movements${said.all > steps.length ? `, the last ${steps.length}` : ""}, newest first`;
    at("story-body").replaceChildren(...steps);
  } catch (error) {
    at("story-state").textContent = error.message;
  }
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  sessionStorage.setItem("holdfast.key", key);
  look();
});
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  tell(event.submitter?.value ?? "orders", at("what").value.trim());
});
function theme(name) {
  document.documentElement.className = name;
  if (name) localStorage.setItem("holdfast.theme", name);
}
function turn() {
  const isDark = document.documentElement.className ? document.documentElement.className === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(isDark ? "light" : "dark");
}
at("theme").addEventListener("click", turn);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  if (event.key === "/") { event.preventDefault(); at("what").focus(); }
  if (event.key === "t") turn();
});
theme(localStorage.getItem("holdfast.theme") ?? "");
look();
