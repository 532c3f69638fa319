// What the browser's tests share.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

let failed = 0;

export function equal(what, want, got) {
  if (JSON.stringify(want) === JSON.stringify(got)) console.log(`PASS  ${what}`);
  else fail(what, `want ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
}

export function holds(what, yes, details = "") {
  if (yes) console.log(`PASS  ${what}`);
  else fail(what, details);
}

function fail(what, details) {
  console.log(`FAIL  ${what}: ${details}`);
  failed = 1;
}

// shot keeps a picture of the page for a person to look at.
export async function shot(page, name) {
  await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
}

// withBrowser runs test with a new, empty browser, and exits. at is a name that is this
// machine to it.
export async function withBrowser(test, at = "localhost") {
  const profile = await mkdtemp(join(tmpdir(), "browser-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM,
    headless: true,
    ignoreHTTPSErrors: true,
    viewport: { width: 1100, height: 750 },
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--no-proxy-server",
      `--host-resolver-rules=MAP ${at} 127.0.0.1`],
  });
  context.setDefaultTimeout(30_000);
  try {
    await test(context);
  } catch (e) {
    fail("no surprise", e.stack);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
  process.exit(failed);
}
