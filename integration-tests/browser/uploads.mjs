// Uploads by a person, in a browser: node uploads.mjs http://FRONT/FOLDER/ KEPT
// KEPT is the folder on disk.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const [folder, kept] = process.argv.slice(2);

const names = (page) => page.locator("li a").allInnerTexts();

// reloaded waits for the page to show name, which it does when all has been sent.
const reloaded = (page, name) => page.locator("li a", { hasText: name }).waitFor();

await withBrowser(async (context) => {
  const page = await context.newPage();
  const dir = await mkdtemp(join(tmpdir(), "uploads-"));
  try {
    const large = Buffer.alloc(20e6, "0123456789abcdef");
    await writeFile(join(dir, "chosen one.bin"), large);
    await writeFile(join(dir, "second.txt"), "second");

    await page.goto(folder);
    await shot(page, "upload");
    const seen = [];
    await page.exposeFunction("moved", (to) => seen.push(to));
    await page.evaluate(() => {
      const bar = document.querySelector("#upload progress");
      new MutationObserver(() => moved(bar.value)).observe(bar, { attributes: true });
    });
    await page.locator("#upload input[type=file]").setInputFiles([join(dir, "chosen one.bin"), join(dir, "second.txt")]);
    await reloaded(page, "second.txt");
    holds("the bar moves with what is sent", Math.max(...seen) > 0, JSON.stringify(seen));
    holds("a chosen file is kept whole", large.equals(await readFile(join(kept, "chosen one.bin"))));

    // Files are dropped on the page, one of them under a name that is taken.
    const drop = async (files) => {
      const data = await page.evaluateHandle((files) => {
        const data = new DataTransfer();
        for (const [name, text] of files) data.items.add(new File([text], name));
        return data;
      }, files);
      await page.dispatchEvent("body", "dragover", { dataTransfer: data });
      const marked = await page.locator("#upload").evaluate((form) => form.classList.contains("over"));
      await page.dispatchEvent("body", "drop", { dataTransfer: data });
      return marked;
    };
    holds("the form shows that files can be dropped", await drop([["second.txt", "another"], ["日本.txt", "dropped"]]));
    await reloaded(page, "日本.txt");
    equal("a dropped file is kept", "dropped", await readFile(join(kept, "日本.txt"), "utf8"));
    equal("nothing is overwritten", "second", await readFile(join(kept, "second.txt"), "utf8"));
    const all = await names(page);
    equal("the page shows all that was sent", 4, all.filter((name) => name !== "../").length);
    const other = all.find((name) => name.startsWith("second") && name !== "second.txt");
    equal("the second of a name has a number", "another", await readFile(join(kept, other ?? "none"), "utf8"));

    // The page says what failed, and keeps what was sent before.
    await page.route("**/*", (route) => route.request().method() === "POST" ? route.abort() : route.continue());
    await drop([["lost.txt", "x"]]);
    await page.locator("#upload output", { hasText: "lost.txt: the connection broke off" }).waitFor();
    await shot(page, "upload-failed");
    holds("a failure is said on the page", true);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
