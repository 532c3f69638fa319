// Keeps the page as it is at P, draws its charts, and searches while somebody types.
// Without it the page is whole, as of when it was loaded.
"use strict";

document.documentElement.classList.add("js");
const main = document.querySelector("main");
const lost = document.querySelector(".live");

// patch makes a like b. What is the same stays as it is, so that whoever selects, opens
// or clicks something is not disturbed; children with a key stay with it. What has
// data-keep is the script's, or the reader's.
function patch(a, b) {
  if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName) return a.replaceWith(b);
  if (a.nodeType !== Node.ELEMENT_NODE) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  if (a.hasAttribute("data-keep")) return;
  for (const { name } of [...a.attributes]) if (!b.hasAttribute(name) && name !== "open") a.removeAttribute(name);
  for (const { name, value } of b.attributes) if (a.getAttribute(name) !== value) a.setAttribute(name, value);
  const keys = new Map([...a.children].filter((x) => x.dataset.key).map((x) => [x.dataset.key, x]));
  let at = a.firstChild;
  for (const node of [...b.childNodes]) {
    const key = node.dataset?.key;
    if (key && keys.has(key)) {
      const old = keys.get(key);
      if (old === at) at = at.nextSibling;
      else a.insertBefore(old, at);
      patch(old, node);
    } else if (key || !at || at.dataset?.key) {
      a.insertBefore(node, at);
    } else {
      const next = at.nextSibling;
      patch(at, node);
      at = next;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// ---- charts

const units = {
  rate: (v) => `${v < 10 ? +v.toFixed(1) : Math.round(v)}/s`,
  ms: (v) => (!v ? "-" : v < 0.05 ? "<0.1 ms" : v >= 1000 ? `${(v / 1000).toFixed(1)} s` : `${v < 10 ? +v.toFixed(1) : Math.round(v)} ms`),
  bytes: (v) => {
    let unit = 0;
    for (; v >= 1024 && unit < 4; unit++) v /= 1024;
    return `${unit ? v.toFixed(1) : Math.round(v)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}/s`;
  },
  count: (v) => String(Math.round(v)),
};
const width = 300, height = 72;
const svg = (name, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  return element;
};

let span = "5m", series = null;
const points = { "5m": 300, "24h": 1440 };

class Chart {
  constructor(figure) {
    this.keys = figure.dataset.keys.split(" ");
    this.unit = units[figure.dataset.unit];
    this.out = figure.querySelector("figcaption").appendChild(document.createElement("output"));
    this.svg = figure.appendChild(svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }));
    this.svg.append(svg("line", { class: "base", x1: 0, x2: width, y1: height, y2: height }));
    this.area = this.svg.appendChild(svg("path", { class: "area" }));
    this.paths = this.keys.map((_, i) => this.svg.appendChild(svg("path", { class: i ? "second" : "first" })));
    this.at = this.svg.appendChild(svg("line", { class: "at", y1: 0, y2: height, visibility: "hidden" }));
    this.svg.addEventListener("pointermove", (e) => {
      const box = this.svg.getBoundingClientRect();
      this.hover = (e.clientX - box.left) / box.width;
      this.say();
    });
    this.svg.addEventListener("pointerleave", () => { this.hover = undefined; this.say(); });
  }

  draw() {
    const most = Math.max(1e-9, ...this.keys.flatMap((key) => series[key]));
    this.keys.forEach((key, i) => {
      const values = series[key], first = points[span] - values.length;
      const line = values.map((v, j) => `${((first + j) / (points[span] - 1) * width).toFixed(1)},${(height - v / most * (height - 4)).toFixed(1)}`).join(" ");
      this.paths[i].setAttribute("d", line && `M${line}`);
      if (i === 0) this.area.setAttribute("d", line && `M${(first / (points[span] - 1) * width).toFixed(1)},${height} L${line} L${width},${height}Z`);
    });
    this.say();
  }

  // say writes the last values, or those under the pointer.
  say() {
    const n = series[this.keys[0]].length;
    let i = n - 1, when = "";
    if (this.hover !== undefined) {
      i = Math.round(this.hover * (points[span] - 1)) - (points[span] - n);
      if (i >= 0 && i < n) when = new Date(Date.parse(series.end) - (n - 1 - i) * series.step_s * 1000).toLocaleTimeString() + "  ";
      this.at.setAttribute("x1", this.hover * width);
      this.at.setAttribute("x2", this.hover * width);
    }
    this.at.setAttribute("visibility", this.hover === undefined ? "hidden" : "visible");
    this.out.value = i >= 0 && i < n ? when + this.keys.map((key) => this.unit(series[key][i])).join(", ") : "";
  }
}

const charts = [...document.querySelectorAll(".charts figure")].map((figure) => new Chart(figure));

async function load() {
  if (!charts.length) return;
  try {
    const answer = await fetch(`/api/v1/status?series=${span}`);
    const got = (await answer.json()).series;
    for (const key in got) got[key] ??= [];
    series = got;
    for (const chart of charts) chart.draw();
  } catch {
    // The next one will tell.
  }
}

const names = {
  requests: "requests_per_second", errors: "errors_per_second", in: "bytes_in_per_second", out: "bytes_out_per_second",
  held: "held", open: "open", p50_ms: "p50_ms", p99_ms: "p99_ms",
};

function point(p) {
  if (!series || span !== "5m") return;
  series.end = p.time;
  for (const key in names) {
    series[key].push(p[names[key]]);
    if (series[key].length > points[span]) series[key].shift();
  }
  for (const chart of charts) chart.draw();
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = button.dataset.span;
    for (const b of document.querySelectorAll("[data-span]")) b.setAttribute("aria-pressed", String(b === button));
    load();
  });
}
setInterval(() => { if (span === "24h" && !document.hidden) load(); }, 60_000);

// ---- what happens at P

let source, boot, again;

function follow() {
  clearTimeout(again);
  source?.close();
  if (document.hidden) return;
  source = new EventSource(location.href);
  source.addEventListener("hello", (e) => {
    if (boot && boot !== e.data) location.reload(); // another P, perhaps with another page
    if (boot) load(); // what came while nobody listened is missing in the charts
    boot = e.data;
    lost.hidden = true;
  });
  source.addEventListener("title", (e) => { document.title = new DOMParser().parseFromString(e.data, "text/html").body.textContent + " - spdy-proxy"; });
  source.addEventListener("main", (e) => patch(main, new DOMParser().parseFromString(`<main>${e.data}</main>`, "text/html").querySelector("main")));
  source.addEventListener("point", (e) => point(JSON.parse(e.data)));
  source.onerror = () => {
    lost.hidden = false;
    if (source.readyState === EventSource.CLOSED) again = setTimeout(follow, 2000);
  };
}

// A page that nobody sees asks for nothing; a browser has few connections to one host.
document.addEventListener("visibilitychange", () => {
  follow();
  if (!document.hidden) load();
});

// What is typed is searched for at once, and the address keeps it.
const form = document.querySelector("form[role=search]");
let typing;
form?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const query = new URLSearchParams(new FormData(form));
    for (const [key, value] of [...query]) if (!value) query.delete(key);
    history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
    follow();
  }, 250);
});

load();
follow();
