// Node-RED's editor through P and C: node node-red.mjs http://FRONT
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const front = process.argv[2];
const word = "a word that went through a WebSocket";

// A button that says the word to the debug window.
const flows = [
  { id: "tab", type: "tab", label: "Through the proxy" },
  { id: "button", type: "inject", z: "tab", name: "say it", props: [{ p: "payload" }], payload: word, payloadType: "str", x: 150, y: 100, wires: [["debug"]] },
  { id: "debug", type: "debug", z: "tab", name: "heard", active: true, tosidebar: true, complete: "payload", x: 350, y: 100, wires: [] },
];

await withBrowser(async (context) => {
  const page = await context.newPage();
  const wrong = [];
  page.on("response", (r) => { if (r.status() >= 500) wrong.push(`${r.status()} ${r.url()}`); });
  // What a reload breaks off is the browser's own doing.
  page.on("requestfailed", (r) => { if (r.failure().errorText !== "net::ERR_ABORTED") wrong.push(`${r.failure().errorText} ${r.url()}`); });
  const frames = [];
  const socket = page.waitForEvent("websocket");
  page.on("websocket", (ws) => ws.on("framereceived", (f) => frames.push(String(f.payload))));

  await page.goto(`${front}/`);
  await page.locator("#red-ui-palette .red-ui-palette-node").first().waitFor();
  equal("the editor's socket", `${front.replace("http", "ws")}/comms`, (await socket).url());

  const deployed = await page.evaluate(async (flows) => {
    const answer = await fetch("flows", { method: "POST", headers: { "Content-Type": "application/json", "Node-RED-Deployment-Type": "full" }, body: JSON.stringify(flows) });
    return answer.status;
  }, flows);
  equal("a flow is deployed", 204, deployed);
  await page.goto(`${front}/`);
  await page.locator("#red-ui-workspace-chart .red-ui-flow-node").nth(1).waitFor();
  holds("the editor shows it", (await page.locator("#red-ui-workspace-chart").textContent()).includes("say it"));

  const heard = page.waitForFunction((word) => document.querySelector(".red-ui-debug-content")?.textContent.includes(word), word);
  equal("the button is pressed", 200, await page.evaluate(async () => (await fetch("inject/button", { method: "POST" })).status));
  await heard;
  holds("what it said came back by the socket", frames.some((f) => f.includes(word)), `${frames.length} frames`);
  await page.locator("#red-ui-tab-debug-link-button").click();
  await page.locator(".red-ui-debug-content").getByText(word).waitFor();
  await shot(page, "node-red");
  equal("nothing failed on the way", [], wrong);
});
