// The page's button at an address that is not localhost, without TLS, as in a network of
// one's own: node disconnect.mjs NAME:PORT TOKEN
// C has the default origin, and comes back.
import { equal, holds, withBrowser } from "./browser.mjs";

const [admin, token] = process.argv.slice(2);

await withBrowser(async (context) => {
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (e) => faults.push(String(e)));
  await page.goto(`http://any:${token}@${admin}/origins/@`);
  await page.getByRole("button", { name: "Disconnect" }).click();
  // Not "absent": its c may be back before its old session has ended.
  await page.locator("section[aria-label='What happened'] .leaving").first().waitFor();
  equal("the button leads back to the page", "/origins/@", new URL(page.url()).pathname);
  holds("and the origin was sent away", true);
  await page.locator("h1 + p .connected").waitFor();
  holds("until its c came back", true);
  equal("no errors", [], faults);
}, admin.split(":")[0]);
