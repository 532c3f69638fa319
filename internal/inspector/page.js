// The inspector's page: a list that follows what happens, and one request beside it.
"use strict";

const most = 100; // as many as are kept
const $ = id => document.getElementById(id);
const requests = new Map(); // by id
let chosen = 0; // id, 0 for none
let shown = null; // the detail on the page

function bytes(n) {
  if (n < 1024) return n + " B";
  const unit = n < 1048576 ? ["KiB", 1024] : n < 1073741824 ? ["MiB", 1048576] : ["GiB", 1073741824];
  return (n / unit[1]).toFixed(1) + " " + unit[0];
}

function took(ms) {
  return ms < 1 ? ms.toFixed(2) + " ms" : ms < 1000 ? ms.toFixed(0) + " ms" : (ms / 1000).toFixed(1) + " s";
}

function element(tag, text, kind) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

function outcome(r) {
  if (r.aborted) return [(r.status || "") + " broken off", "bad"];
  if (!r.status) return [r.done ? "no answer" : "waits", r.done ? "bad" : "quiet"];
  return [r.status + (r.done ? "" : " ..."), r.status >= 500 ? "bad" : r.status >= 400 ? "" : "good"];
}

function matches(r, words) {
  const text = [r.method, r.target, r.host, r.origin, r.status, r.again ? "replay" : "", r.aborted || r.status >= 500 ? "error" : ""].join(" ").toLowerCase();
  return words.every(w => text.includes(w));
}

function list() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(w => w);
  const all = [...requests.values()].sort((a, b) => b.id - a.id);
  for (const old of all.splice(most)) requests.delete(old.id);
  const rows = all.filter(r => matches(r, words)).map(r => {
    const row = element("tr", undefined, r.id === chosen ? "chosen" : "");
    const [text, kind] = outcome(r);
    const path = element("td");
    const link = element("a", r.target);
    link.href = "#" + r.id;
    link.title = r.host + r.target;
    path.append(link);
    if (r.again) path.append(" ", element("span", "replay of " + r.again, "quiet"));
    row.append(element("td", new Date(r.time).toLocaleTimeString([], { hour12: false })), element("td", r.method), path, element("td", text, kind),
      element("td", r.done ? took(r.duration_ms || 0) : ""), element("td", bytes(r.bytes_out)));
    row.addEventListener("click", () => { location.hash = r.id; });
    return row;
  });
  $("rows").replaceChildren(...rows);
  document.querySelector("#list table").hidden = rows.length === 0;
  $("none").hidden = rows.length > 0;
  $("none").textContent = all.length ? "None of the " + all.length + " requests has that in it." : "No request has come yet. c says at its start where it is reached: what is asked there shows up here by itself.";
}

function message(into, m, id, which) {
  const parts = [element("pre", m.head + (m.head_cut ? "... more is not kept\n" : "") || "No headers.")];
  if (m.bytes > 0) {
    const note = element("p", undefined, "quiet");
    note.append(bytes(m.bytes) + (m.kept < m.bytes ? ", of which " + bytes(m.kept) + " are kept" : "") + (m.unzipped ? ", shown uncompressed" : "") + ". ");
    if (m.kept > 0) {
      const link = element("a", "Save");
      link.href = "/api/requests/" + id + "/" + which;
      note.append(link);
    }
    parts.push(note, m.binary ? element("p", "It is no text.", "quiet") : element("pre", pretty(m)));
  } else {
    parts.push(element("p", "No body.", "quiet"));
  }
  $(into).replaceChildren(...parts);
}

function pretty(m) {
  if (m.kept === m.bytes && /^content-type:.*json/im.test(m.head)) {
    try { return JSON.stringify(JSON.parse(m.body), null, 2); } catch { /* as it is */ }
  }
  return m.body;
}

async function detail() {
  document.querySelector("main").classList.toggle("two", chosen > 0);
  $("detail").hidden = chosen === 0;
  list();
  if (!chosen) { shown = null; return; }
  const id = chosen;
  const response = await fetch("/api/requests/" + id);
  if (id !== chosen) return;
  if (!response.ok) {
    shown = null;
    $("title").textContent = "Request " + id + " is not kept any more";
    $("facts").textContent = "";
    for (const e of ["actions", "editor"]) $(e).hidden = true;
    for (const e of ["request", "response"]) $(e).replaceChildren();
    return;
  }
  const d = await response.json();
  if (id !== chosen) return;
  if (!shown || shown.id !== id) { $("editor").hidden = true; $("said").textContent = ""; }
  shown = d;
  $("actions").hidden = false;
  $("title").textContent = d.method + " " + d.target;
  const [text, kind] = outcome(d);
  $("facts").replaceChildren(element("span", text, kind), " " + [d.done ? "in " + took(d.duration_ms || 0) : "", "for " + d.host,
    "origin " + d.origin, new Date(d.time).toLocaleString(), d.again ? "replay of " + d.again : ""].filter(t => t).join(", "));
  $("replay").disabled = d.no_replay !== undefined;
  $("replay").title = d.no_replay || "";
  message("request", d.request, id, "request");
  message("response", d.response, id, "response");
}

async function replay(change) {
  $("said").textContent = "Sent ...";
  const response = await fetch("/api/requests/" + shown.id + "/replay", { method: "POST", body: change && JSON.stringify(change) });
  $("said").textContent = response.ok ? "Answered: it is the newest in the list." : await response.text();
}

function choose() {
  chosen = Number(location.hash.slice(1)) || 0;
  detail();
}

let events = null;

function follow() {
  if (events) events.close();
  events = null;
  $("state").textContent = "";
  if (!$("follow").checked) return;
  events = new EventSource("/api/events");
  // It begins with all there is, which another c than before may say, with ids of its own.
  events.onopen = () => {
    $("state").textContent = "";
    requests.clear();
    list();
    if (chosen) detail();
  };
  events.onerror = () => { $("state").textContent = "c does not answer"; };
  events.onmessage = e => {
    const changed = JSON.parse(e.data);
    $("state").textContent = "";
    for (const r of changed) requests.set(r.id, r);
    if (changed.length) list();
    if (changed.some(r => r.id === chosen)) detail();
  };
}

$("filter").addEventListener("input", list);
$("tools").addEventListener("submit", e => e.preventDefault());
$("follow").addEventListener("change", follow);
$("clear").addEventListener("click", async () => {
  await fetch("/api/clear", { method: "POST" });
  requests.clear();
  location.hash = "";
  list();
});
$("close").addEventListener("click", e => { e.preventDefault(); location.hash = ""; });
$("replay").addEventListener("click", () => replay());
$("edit").addEventListener("click", () => {
  const editor = $("editor");
  editor.hidden = !editor.hidden;
  if (editor.hidden) return;
  $("method").value = shown.method;
  $("target").value = shown.target;
  $("head").value = shown.request.head;
  $("body").value = shown.request.binary ? "" : shown.request.body;
});
$("editor").addEventListener("submit", e => {
  e.preventDefault();
  replay({ method: $("method").value, target: $("target").value, head: $("head").value, body: $("body").value });
});
addEventListener("hashchange", choose);
follow();
choose();
