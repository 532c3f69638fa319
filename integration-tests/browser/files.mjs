// The files that C serves, in a browser: node files.mjs http://FRONT [http://NGINX]
// What plays has to play from nginx, which serves the same folder, in the same way.
import { equal, holds, shot, withBrowser } from "./browser.mjs";

const [front, nginx] = process.argv.slice(2);

// play starts the page's film, jumps to a second of it, and tells what happened.
function play(page, to) {
  return page.evaluate(async (to) => {
    const video = document.querySelector("video");
    const until = (name, yes) => new Promise((resolve, reject) => {
      const look = () => { if (yes()) { video.removeEventListener(name, look); resolve(); } };
      video.addEventListener(name, look);
      video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
      look();
    });
    video.muted = true;
    await video.play();
    await until("timeupdate", () => video.currentTime > 0.5);
    const played = video.currentTime;
    video.currentTime = to;
    await until("seeked", () => !video.seeking && video.currentTime >= to);
    await until("timeupdate", () => video.currentTime > to + 0.5);
    video.pause();
    return {
      played, after: video.currentTime, duration: Math.round(video.duration),
      size: [video.videoWidth, video.videoHeight], frames: video.getVideoPlaybackQuality().totalVideoFrames,
    };
  }, to);
}

// media shows the picture, and plays and seeks films and sound, of the folder at.
async function media(page, at, where) {
  await page.goto(`${at}/`);
  await page.getByText("image.jpg").click();
  equal(`the picture${where}`, [2000, 1500], await page.locator("img").evaluate(async (img) => {
    await img.decode();
    return [img.naturalWidth, img.naturalHeight];
  }));
  await shot(page, `image${where}`);

  const ranges = [];
  page.on("response", async (r) => {
    if (r.url().endsWith("/sample.mp4")) ranges.push([(await r.request().allHeaders()).range, r.status(), r.headers()["content-range"]]);
  });
  await page.goto(`${at}/`);
  await page.getByText("sample.mp4").click();
  const film = await play(page, 9);
  equal(`the film's size and length${where}`, [[640, 360], 12], [film.size, film.duration]);
  holds(`the film plays${where}`, film.played > 0.5 && film.frames > 10, JSON.stringify(film));
  holds(`the film goes on after a seek to 9 s${where}`, film.after > 9.5 && film.after < 12, JSON.stringify(film));
  await shot(page, `film${where}`);
  console.log(`      asked for: ${ranges.map((r) => r.join(" ")).join("; ")}`);
  holds(`by Range requests${where}`, ranges.some(([asked, status]) => asked && status === 206), JSON.stringify(ranges));

  // The index of the long film stands behind a gap that no browser reads through: it has to jump.
  const jumps = [];
  page.on("response", async (r) => {
    if (r.url().endsWith("/far.mp4")) jumps.push([(await r.request().allHeaders()).range, r.status()]);
  });
  await page.goto(`${at}/far.mp4`);
  const far = await play(page, 6);
  holds(`a film with its index 40 MB away${where}`, far.after > 6.5, JSON.stringify(far));
  console.log(`      asked for: ${jumps.map((r) => r.join(" ")).join("; ")}`);
  holds(`by a Range from far on${where}`, jumps.some(([asked, status]) => Number(/bytes=(\d+)-/.exec(asked)?.[1]) > 30e6 && status === 206), JSON.stringify(jumps));

  await page.goto(`${at}/audio.mp3`);
  const sound = await play(page, 20);
  holds(`the sound plays and seeks${where}`, sound.duration === 30 && sound.after > 20.5, JSON.stringify(sound));
}

await withBrowser(async (context) => {
  const page = await context.newPage();

  await page.goto(`${front}/`);
  const names = await page.locator("li a").allInnerTexts();
  equal("the listing shows each name", ["100%41?#.txt", ":colon & <b>.txt", "audio.mp3", "far.mp4", "image.jpg", "line␊end.txt",
    "sample.avi", "sample.mkv", "sample.mp4", "two words.txt", "日本 ü.txt"], names);
  await shot(page, "listing");
  for (const name of names.filter((n) => n.endsWith(".txt"))) {
    await page.goto(`${front}/`);
    await page.locator("li a", { hasText: name }).click();
    equal(`a click on ${name}`, `content of ${name.replace("␊", "\\n")}`, await page.locator("body").innerText());
  }
  await page.setViewportSize({ width: 360, height: 640 });
  await page.goto(`${front}/`);
  equal("the listing fits a phone", 360, await page.evaluate(() => document.documentElement.scrollWidth));
  await shot(page, "listing-phone");
  await page.setViewportSize({ width: 1100, height: 750 });

  await media(page, front, "");
  if (nginx) await media(await context.newPage(), nginx, " (nginx)");

  await page.goto(`${front}/nothing/here`);
  holds("what is not there says so", (await page.locator("body").innerText()).startsWith("404"));
});
