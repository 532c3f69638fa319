
"use strict";
// Times as the visitor's clock has them.
const two = (n) => String(n).padStart(2, "0");
for (const time of document.querySelectorAll("time")) {
  const t = new Date(time.dateTime);
  if (!isNaN(t)) time.textContent = `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}`;
}
document.getElementById("utc").hidden = true;

// Pictures, film and sound over the page, with what is before and after them.
const view = document.getElementById("view"), stage = document.getElementById("stage");
const $ = (id) => document.getElementById(id);
const kinds = { i: "img", v: "video", a: "audio" };
let shown = null;
const beside = (row, step) => {
  do row = row[step]; while (row && !kinds[row.className]);
  return row;
};
const show = (row) => {
  if (!row) return;
  shown = row;
  const link = row.querySelector("a"), media = document.createElement(kinds[row.className]);
  media.src = link.href;
  if (row.className !== "i") { media.controls = true; media.autoplay = true; }
  // What this browser cannot show, it can still save.
  media.onerror = () => stage.replaceChildren("This browser cannot show it.");
  stage.replaceChildren(media);
  $("name").textContent = link.textContent;
  $("open").href = link.href;
  $("save").href = link.href + "?download";
  $("prev").disabled = !beside(row, "previousElementSibling");
  $("next").disabled = !beside(row, "nextElementSibling");
  if (!view.open) view.showModal();
};
document.querySelector("main").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || !kinds[link.parentNode.className] || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  show(link.parentNode);
});
$("prev").onclick = () => show(beside(shown, "previousElementSibling"));
$("next").onclick = () => show(beside(shown, "nextElementSibling"));
$("close").onclick = () => view.close();
stage.onclick = (event) => { if (event.target === stage) view.close(); };
view.onclose = () => { stage.replaceChildren(); shown.querySelector("a").focus({ preventScroll: true }); };
view.onkeydown = (event) => {
  if (event.target.matches("video, audio")) return;
  if (event.key === "ArrowLeft") $("prev").click();
  if (event.key === "ArrowRight") $("next").click();
};
