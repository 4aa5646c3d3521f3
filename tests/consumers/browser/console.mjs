// Uses the console as a person would: node console.mjs CHROMIUM URL KEY PRODUCT ORDER FOLDER
// Prints one JSON object of what it saw; screenshots go to FOLDER.
import { chromium } from "playwright-core";

const [executablePath, url, key, product, order, folder] = process.argv.slice(2);
const quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: quiet });
const page = await browser.newPage({ viewport: { width: 1300, height: 900 }, colorScheme: "light" });
const seen = { errors: [], outside: [] };
page.on("pageerror", (error) => seen.errors.push(String(error)));
page.on("request", (request) => request.url().startsWith(url) || request.url().startsWith("data:") || seen.outside.push(request.url()));
const shot = (name, options = {}) => page.screenshot({ path: `${folder}/${name}.png`, ...options });
const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

await page.goto(`${url}/console`);
await page.waitForSelector("#enter:not([hidden])");
await page.keyboard.type("hf_0_wrong");
await page.keyboard.press("Enter");
await page.waitForFunction(() => document.getElementById("state").classList.contains("bad"));
seen.wrongKey = await page.textContent("#state");
await page.fill("#key", key);
await page.keyboard.press("Enter");
await page.waitForFunction((id) => [...document.querySelectorAll("#hottest button")].some((each) => each.textContent === id), product, { timeout: 60000 });
seen.numbers = await page.$$eval("#numbers .number-card span", (all) => all.map((each) => each.textContent));
seen.stages = await page.$$eval("#lag tr", (all) => [...new Set(all.map((each) => each.firstChild.textContent))]);
seen.bar = await page.$eval("#hottest .bar", (bar) => bar.getAttribute("aria-label"));
seen.light = await paper();
await shot("light");
await page.evaluate(() => document.activeElement.blur());
await page.keyboard.press("t");
seen.dark = await paper();
await shot("dark");

await page.keyboard.press("/");
await page.keyboard.type(order);
await page.keyboard.press("Enter");
await page.waitForSelector(".step", { timeout: 60000 });
seen.order = { title: await page.textContent("#story-title"), steps: await page.$$eval(".step b", (all) => all.map((each) => each.textContent)) };
await shot("order");
await page.keyboard.press("Escape");
seen.closed = await page.$eval("#story", (story) => !story.open);
await page.click(`#hottest button[data-product="${product}"]`);
await page.waitForSelector(".step .bar", { timeout: 60000 });
seen.product = { title: await page.textContent("#story-title"), steps: await page.$$eval(".step b", (all) => all.map((each) => each.textContent)) };
await page.keyboard.press("Escape");

await page.setViewportSize({ width: 390, height: 844 });
seen.narrow = await page.evaluate(() => document.documentElement.scrollWidth);
await shot("narrow", { fullPage: true });
await browser.close();
console.log(JSON.stringify(seen));
