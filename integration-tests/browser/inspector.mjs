// The inspector of c, as its user sees it: node inspector.mjs http://INSPECTOR/ http://FRONT/
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const [inspector, front] = process.argv.slice(2);

await withBrowser(async (context) => {
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  page.on("console", (m) => m.type() === "error" && faults.push(m.text()));
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.goto(inspector);
  const rows = page.locator("#rows tr");

  const hook = { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"event":"push","ref":"main"}' };
  for (const path of ["", "page/1?from=start", "page/2", "<img src=x onerror=alert(1)>", "missing/thing"]) await fetch(front + path);
  await fetch(front + "hook?source=git", hook);
  await rows.nth(5).waitFor();
  holds("the page follows what happens", true);
  await shot(page, "inspector-1280");

  await page.fill("#filter", "post hook");
  equal("the filter leaves one", 1, await rows.count());
  await rows.first().click();
  await page.locator("#detail h2", { hasText: "POST /hook?source=git" }).waitFor();
  const body = await page.locator("#request pre").last().innerText();
  holds("the body of a request is shown", body.includes('"event": "push"'), body);
  await page.fill("#filter", "");
  await page.click("#replay");
  await page.locator("#said", { hasText: "Answered" }).waitFor();
  await page.locator("#rows tr", { hasText: "replay of 6" }).waitFor();
  holds("a replay is in the list", true);
  await shot(page, "inspector-1280-one");

  await page.click("#edit");
  await page.fill("#target", "/edited");
  await page.fill("#body", '{"event":"tag"}');
  await page.click("#editor button");
  await page.locator("#rows tr", { hasText: "/edited" }).waitFor();
  holds("an edited replay is, too", true);
  await shot(page, "inspector-1280-edit");

  await page.emulateMedia({ colorScheme: "dark" });
  await page.click("#edit");
  await shot(page, "inspector-1280-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await shot(page, "inspector-390-one-dark");
  await page.click("#close");
  await shot(page, "inspector-390-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await shot(page, "inspector-390");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  holds("nothing is wider than a phone", wide <= 390, `${wide} pixels`);
  equal("no script of a path runs, and there is no error", [], faults);
});
