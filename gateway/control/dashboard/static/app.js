// What the pages do beyond reading: refresh themselves when something has changed, tick all, draw the charts, and take a
// few keys. Every page is complete without this file.
"use strict";

const pulse = (text, cls) => {
  const p = document.getElementById("pulse");
  if (p && p.textContent !== text) { p.textContent = text; p.className = "pulse " + cls; }
};

// A page is left alone while somebody works on it: a field has the focus, an entry is ticked, a form is open, text is
// selected.
const busy = () => {
  const live = document.getElementById("live");
  if (!live) return true;
  const a = document.activeElement;
  if (a && a !== document.body && live.contains(a)) return true;
  if (live.querySelector("tbody input:checked, .act[open]")) return true;
  const s = document.getSelection();
  return !!s && !s.isCollapsed && live.contains(s.anchorNode);
};

let behind = false;
const refresh = () => {
  if (busy()) { behind = true; pulse("Paused while you work", "held"); return; }
  behind = false;
  pulse("Live", "on");
  htmx.trigger(document.body, "changed");
};

if ("live" in document.body.dataset) {
  const source = new EventSource("/events");
  source.addEventListener("open", () => pulse("Live", "on"));
  source.addEventListener("error", () => pulse("Not connected", "off"));
  source.addEventListener("changed", refresh);
  setInterval(() => { if (behind) refresh(); }, 2000);
  addEventListener("pagehide", () => source.close());
}

// Tick all, and a range with shift.
let lastTick = null;
const readyTicks = () => document.querySelectorAll("[data-all]").forEach((b) => { b.hidden = false; });
readyTicks();
document.addEventListener("click", (e) => {
  const box = e.target;
  if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
  const all = [...document.querySelectorAll("tbody .tick input")];
  if (box.hasAttribute("data-all")) { all.forEach((b) => { b.checked = box.checked; }); return; }
  if (e.shiftKey && lastTick && all.includes(lastTick)) {
    const [i, j] = [all.indexOf(lastTick), all.indexOf(box)].sort((a, b) => a - b);
    all.slice(i, j + 1).forEach((b) => { b.checked = box.checked; });
  }
  lastTick = box;
});

// Keys: / finds, g and a letter goes to a page.
const pages = { m: "/", q: "/queue", d: "/destinations", r: "/routes", u: "/directory", p: "/quarantine", f: "/figures", a: "/audit" };
let going = 0;
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
  if (e.key === "/") { const f = document.getElementById("find"); if (f) { f.focus(); e.preventDefault(); } return; }
  if (e.key === "g") { going = Date.now(); return; }
  if (Date.now() - going < 1200 && pages[e.key]) location.assign(pages[e.key]);
  going = 0;
});

// Charts.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plots = [];
const draw = async () => {
  const box = document.querySelector(".charts");
  if (!box || typeof uPlot === "undefined") return;
  const answer = await fetch("/figures/history?range=" + encodeURIComponent(box.dataset.range), { credentials: "same-origin" });
  if (!answer.ok) return;
  const h = await answer.json();
  box.hidden = false;
  plots.splice(0).forEach((p) => p.destroy());
  const line = (label, colour, fill) => ({ label, stroke: css(colour), width: 1.75, fill: fill ? css(colour) + "22" : undefined, points: { show: (h.At || []).length < 4 }, value: (_, v) => v == null ? "–" : +v.toPrecision(3) });
  const charts = {
    flow: [[h.Received, h.Delivered, h.Deferred, h.Failed], [line("received", "--series1", true), line("delivered", "--series2"), line("deferrals", "--series3"), line("failed", "--series4")]],
    latency: [[h.P50, h.P95], [line("median", "--series1", true), line("95 %", "--series3")]],
    queue: [[h.Waiting, h.Held], [line("waiting", "--series1", true), line("held", "--series3")]],
  };
  const at = h.At || [];
  const end = at.length ? at[at.length - 1] : Date.now() / 1e3;
  const begin = Math.min(at.length ? at[0] : end, end - 600);
  const whole = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6];
  const time = { space: 60, values: (_, ts) => ts.map((t) => new Date(t * 1e3).toISOString().slice(11, 16)), incrs: [60, 300, 600, 900, 1800, 3600, 10800, 21600] };
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "11px system-ui, sans-serif" };
  for (const el of box.querySelectorAll("[data-chart]")) {
    const [data, series] = charts[el.dataset.chart];
    plots.push(new uPlot({
      width: el.clientWidth, height: 200, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC"), cursor: { points: { size: 6 } },
      scales: { x: { range: () => [begin, end] }, y: { range: (_, lo, hi) => [0, hi > 0 ? hi * 1.1 : 1] } }, series: [{}, ...series], axes: [{ ...axis, ...time }, { ...axis, size: 44, ...(el.dataset.chart === "queue" ? { incrs: whole } : {}) }], legend: { live: true },
    }, [at, ...data.map((d) => d || [])], el));
  }
};
addEventListener("load", draw);
document.addEventListener("htmx:afterSettle", () => { readyTicks(); draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 200); });
