// The status page in a browser: node status.mjs http://ADMIN http://FRONT ASKED LONG
// When the file ASKED is there, p is to be started again, without its --domain. C has the
// names film and LONG.
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const [admin, front, asked, long] = process.argv.slice(2);

const ask = async (times) => { for (let i = 0; i < times; i++) await (await fetch(`${front}/image.jpg`)).arrayBuffer(); };

await withBrowser(async (context) => {
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("console", (m) => m.type() === "error" && !m.text().includes("ERR_CONNECTION") && !m.text().includes("ERR_INCOMPLETE") && faults.push(m.text()));
  const row = (name) => page.locator(`tr[data-key="${name}"]`);

  await page.goto(admin);
  await row("@").waitFor();
  equal("all origins are there", ["@ default origin", "film", long], await page.locator("tbody th a:first-child").allInnerTexts());
  holds("the state has a word", (await row("@").locator("td[data-name=State]").innerText()).startsWith("connected"));

  await page.waitForFunction(() => document.querySelectorAll(".charts output")[1].value === "-, -");
  holds("what was not measured has the table's word", true);

  // It follows, without being loaded again.
  await page.evaluate(() => { window.same = true; });
  await ask(30);
  await row("@").locator(".spark").waitFor();
  const drawn = () => page.waitForFunction(() => document.querySelector(".charts path.first").getAttribute("d")?.split(" ").some((p) => parseFloat(p.split(",")[1]) < 60));
  await drawn();
  holds("charts and rows follow what happens", await page.evaluate(() => window.same === true));
  await page.hover(".charts svg >> nth=0", { position: { x: 200, y: 30 } });
  await shot(page, "status");

  await page.fill("input[type=search]", "fil");
  await row("@").waitFor({ state: "detached" });
  holds("what is typed is searched for at once", await row("film").isVisible() && page.url().endsWith("?q=fil"));
  await page.fill("input[type=search]", "nothing like it");
  await page.getByText("No origin is like this").waitFor();
  await page.fill("input[type=search]", "");
  await row("@").waitFor();
  holds("and all are there again", await page.evaluate(() => window.same === true));

  // Requests, one of them open.
  await page.goto(`${admin}/requests`);
  await ask(1);
  // By its key: another may come to be the first at any moment.
  const id = await page.locator(".requests li").first().getAttribute("data-key");
  const one = page.locator(`.requests li[data-key="${id}"]`);
  await one.locator("summary").click();
  holds("a request shows its steps", (await one.locator("dl").innerText()).includes("headers after"));
  await ask(3);
  await page.waitForFunction((id) => document.querySelector(".requests li").dataset.key !== id, id);
  holds("it stays open while others come", await one.locator("dl").isVisible());
  const upload = request(`${front}/image.jpg`, { method: "POST", headers: { "Content-Length": 1 } });
  upload.on("error", () => {});
  upload.flushHeaders();
  await page.locator(".log.open li").first().waitFor();
  holds("and while one is under way", await one.locator("dl").isVisible());
  upload.destroy();
  await page.locator(".log.open").waitFor({ state: "detached" });
  holds("and when none is any more", await one.locator("dl").isVisible());
  await shot(page, "requests");

  // Each page on a desk and on a phone, by day and by night.
  await (await fetch(`${front}/${"w".repeat(300)}?${"w".repeat(300)}=1`)).arrayBuffer();
  const grounds = new Set();
  for (const [name, path] of [["origins", "/"], ["origin", `/origins/${long}`], ["used", "/origins/@"], ["requests", "/requests"], ["help", "/help/flags"]]) {
    await page.goto(admin + path);
    for (const details of await page.locator("details").all()) await details.evaluate((d) => { d.open = true; });
    for (const width of [1280, 390]) for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize({ width, height: 860 });
      await page.emulateMedia({ colorScheme });
      grounds.add(`${colorScheme} ${await page.evaluate(() => getComputedStyle(document.body).backgroundColor)}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      holds(`${path} fits ${width}, ${colorScheme}`, wide <= width, `it is ${wide} wide`);
      await shot(page, `${name}-${width}-${colorScheme}`);
    }
  }
  equal("each scheme has its ground", ["dark rgb(20, 24, 27)", "light rgb(246, 247, 248)"], [...grounds].sort());
  await page.setViewportSize({ width: 1100, height: 750 });
  await page.emulateMedia({ colorScheme: "light" });

  // An origin's own page, and P's restart.
  await page.goto(`${admin}/origins/film`);
  equal("an origin has its page", "film", await page.locator("h1").innerText());
  await page.goto(admin);
  await row("film").waitFor();
  const other = page.waitForEvent("load", { timeout: 60_000 });
  await writeFile(asked, "");
  await page.locator(".live").waitFor({ timeout: 60_000 });
  holds("the page says that P is gone", true);
  await other;
  await row("@").locator(".connected").waitFor({ timeout: 60_000 });
  await row("film").locator(".unreachable").waitFor({ timeout: 60_000 }); // p has no --domain
  holds("it survives P's restart", await page.locator(".live").isHidden());
  await page.waitForTimeout(1500);
  await ask(20);
  await drawn();
  holds("and follows the new one", true);
  equal("no errors", [], faults);

  // Without its script it is a table.
  const plain = await context.browser()?.newContext({ javaScriptEnabled: false });
  if (plain) {
    const table = await plain.newPage();
    await table.goto(`${admin}/?q=film`);
    equal("without its script it is a table", 1, await table.locator("tbody tr").count());
    await plain.close();
  }
});
