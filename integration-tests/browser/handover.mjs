// Hand-overs that nobody sees: node handover.mjs FRONT FILM SOCKET PIDFILE...
// FRONT and SOCKET are origins of the front port over TLS; the film lies at the first and
// plays on while each of the programs, named by their pid files, hands over in turn.
import { readFile } from "node:fs/promises";
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const [front, film, socket, ...pidFiles] = process.argv.slice(2);

// A hand-over has come to its end when another process is there, and until then and for
// so long after it, in ms, the film plays on and each message has its echo.
const after = 4000;

await withBrowser(async (context) => {
  const page = await context.newPage();
  await page.evaluate(async (source) => {
    document.body.innerHTML = "<video width=640 muted></video>";
    const video = document.querySelector("video");
    window.waited = [];
    video.src = source;
    await video.play();
    // It has begun; what is seen from now on is a stall.
    await new Promise((resolve) => video.addEventListener("timeupdate", () => { if (video.currentTime > 2) resolve(); }));
    for (const event of ["waiting", "stalled", "error", "emptied"]) video.addEventListener(event, () => waited.push(`${event} at ${video.currentTime}`));
  }, `${front}/${film}`);
  const seconds = () => page.evaluate(() => document.querySelector("video").currentTime);

  // open opens a WebSocket that says a number ten times a second.
  const open = () => page.evaluateHandle((url) => new Promise((resolve, reject) => {
    const talk = { sent: 0, heard: 0, wrong: [] };
    const ws = new WebSocket(url);
    ws.onopen = () => {
      talk.timer = setInterval(() => ws.send(String(talk.sent++)), 100);
      resolve(talk);
    };
    ws.onmessage = (m) => { if (m.data !== String(talk.heard++)) talk.wrong.push(m.data); };
    setTimeout(() => reject(new Error("the socket does not open")), 10_000);
    ws.onclose = (e) => { clearInterval(talk.timer); talk.wrong.push(`closed ${e.code}`); reject(new Error("the socket was refused")); };
    talk.end = () => { clearInterval(talk.timer); ws.onclose = null; ws.close(); };
  }), socket);

  for (const file of pidFiles) {
    const name = file.replace(/.*\//, "").replace(/\.pid$/, "");
    const pid = () => readFile(file, "utf8").then((text) => Number(text));
    const old = await pid();
    const [talk, began, played] = [await open(), Date.now(), await seconds()];
    process.kill(old, "SIGUSR2");
    while (await pid() === old && Date.now() < began + 20_000) await page.waitForTimeout(50);
    holds(`${name} hands over`, await pid() !== old);
    await page.waitForTimeout(after);
    const passed = (Date.now() - began) / 1000, seen = await seconds() - played;
    holds(`the film plays on over ${name}'s hand-over`, Math.abs(seen - passed) < 1, `${seen} s of it in ${passed} s`);
    const said = await talk.evaluate((t) => ({ sent: t.sent, heard: t.heard, wrong: t.wrong }));
    holds(`a WebSocket that is in use lives on over ${name}'s hand-over`, said.heard >= 30 && said.sent - said.heard <= 2 && said.wrong.length === 0, JSON.stringify(said));
    await talk.evaluate((t) => t.end());
    const fresh = await open();
    await fresh.evaluate((t) => t.end());
  }
  equal("the film waits nowhere", [], await page.evaluate(() => waited));
  await shot(page, "handover");
});
