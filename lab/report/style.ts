/** The report's style sheet and its only script. */
import { chartFrame } from "./chart.ts";

const { width, left, right } = chartFrame;

export const style = `
:root {
  color-scheme: light dark;
  --paper: #f7f6f3; --panel: #fffefc; --ink: #1c1f24; --muted: #5c6370; --line: #e2dfd8; --grid: #ebe8e2;
  --c1: #2a6fb0; --c2: #b8560f; --c3: #4c7a34; --c4: #6d727c;
  --good: #17714a; --good-soft: #dff1e6; --bad: #ad2a20; --bad-soft: #fbe4e0; --accent-soft: #e6eef7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131519; --panel: #1a1d23; --ink: #e7e5e0; --muted: #9ca3af; --line: #2d323b; --grid: #262a32;
    --c1: #74aef0; --c2: #f0a05a; --c3: #93c77a; --c4: #9aa1ac;
    --good: #62cf9c; --good-soft: #17382a; --bad: #f59186; --bad-soft: #45211e; --accent-soft: #1e2c3d;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
main, header.top { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header.top { padding-top: 44px; }
.brand { color: var(--muted); font-size: 13px; letter-spacing: .04em; margin: 0 0 6px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 10px; font-weight: 650; text-wrap: balance; }
.lead { color: var(--muted); margin: 0; max-width: 76ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 20px 0 0; padding: 10px 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: 14px; }
nav a { color: var(--muted); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--ink); text-decoration: underline; text-underline-offset: 3px; }
section { margin: 44px 0 0; }
h2 { font-size: 21px; letter-spacing: -.01em; margin: 0 0 4px; font-weight: 650; }
h3 { font-size: 15px; margin: 28px 0 8px; font-weight: 650; }
h4 { font-size: 13.5px; margin: 0; font-weight: 600; }
h4 small, .muted, .doc { color: var(--muted); font-weight: 400; }
h4 small { font-size: 12px; }
p.about { color: var(--muted); margin: 0 0 16px; max-width: 78ch; }
code { font: 12.5px/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile, .chart, .panel { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px 13px; }
.tile .label { font-size: 13px; color: var(--muted); margin: 0; }
.tile .value { font-size: 27px; line-height: 1.25; font-weight: 640; letter-spacing: -.02em; margin: 2px 0 0; font-variant-numeric: tabular-nums; }
.tile .value small { font-size: 15px; font-weight: 500; color: var(--muted); letter-spacing: 0; }
.tile .detail { font-size: 12.5px; color: var(--muted); margin: 2px 0 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 14px; }
.chart { margin: 0; padding: 13px 14px 8px; }
.chart.empty { padding-bottom: 13px; }
.chart.empty p { margin: 6px 0 0; font-size: 13px; }
.chart figcaption { min-height: 44px; }
.readout { margin: 1px 0 4px; font-size: 12.5px; color: var(--muted); font-variant-numeric: tabular-nums; display: flex; flex-wrap: wrap; gap: 0 12px; }
.readout b { color: var(--ink); font-weight: 600; }
.key::before { content: ""; display: inline-block; width: 10px; height: 3px; border-radius: 2px; margin: 0 5px 3px 0; vertical-align: middle; background: var(--k); }
.k1 { --k: var(--c1); } .k2 { --k: var(--c2); } .k3 { --k: var(--c3); } .k4 { --k: var(--c4); }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; touch-action: pan-y; }
.chart .doc { font-size: 12px; line-height: 1.45; margin: 4px 0 4px; }
svg text { font: 10.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--muted); font-variant-numeric: tabular-nums; }
svg path { fill: none; stroke: var(--k); stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
svg path.faint { stroke-width: 1; opacity: .32; }
svg circle { fill: var(--k); }
svg .grid { stroke: var(--grid); } svg .tick { stroke: var(--muted); opacity: .6; } svg .whisker { stroke: var(--k); stroke-width: 1.4; opacity: .55; } svg .rule { stroke: var(--muted); stroke-dasharray: 3 3; opacity: .8; }
svg .cursor { stroke: var(--muted); stroke-width: 1; opacity: 0; } svg .cursor.on { opacity: .7; }
.interval { width: 160px; height: 16px; display: block; }
.interval .half { stroke: var(--muted); opacity: .55; stroke-dasharray: 2 2; }
.interval .span { stroke: var(--k); stroke-width: 3; stroke-linecap: round; opacity: .55; }
.interval.good { --k: var(--good); } .interval.bad { --k: var(--bad); } .interval.even { --k: var(--muted); }
.scroll { overflow-x: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 8px 11px; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 14px; } th:last-child, td:last-child { padding-right: 14px; }
thead th { border-top: 0; color: var(--muted); font-size: 12.5px; line-height: 1.35; font-weight: 550; vertical-align: bottom; }
thead th.number { white-space: normal; }
tbody th { font-weight: 550; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.number small, td small { color: var(--muted); font-size: 12px; }
tr.strong td, tr.strong th { background: var(--accent-soft); }
.caption { color: var(--muted); font-size: 12.5px; line-height: 1.45; margin: 8px 2px 0; max-width: 110ch; }
.author { white-space: nowrap; }
.author::before { content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 50%; margin-right: 7px; background: var(--k); }
.a-reference { --k: var(--c3); } .a-base { --k: var(--c4); } .a-sft { --k: var(--c1); } .a-ppo, .a-best { --k: var(--c2); }
.checks { list-style: none; margin: 0; padding: 4px 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); }
.checks li { display: flex; gap: 10px; padding: 6px 14px; font-size: 14px; align-items: baseline; }
.checks .found { margin-left: auto; color: var(--muted); font-size: 12.5px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.mark { flex: none; width: 20px; height: 20px; border-radius: 50%; font-size: 12px; line-height: 20px; text-align: center; font-weight: 700; }
.mark.yes { background: var(--good-soft); color: var(--good); } .mark.no { background: var(--bad-soft); color: var(--bad); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 14px; align-items: start; }
.columns h3 { margin-top: 20px; }
.samples { table-layout: fixed; font-size: 13.5px; line-height: 1.5; }
.samples th:first-child { width: 25%; }
.samples td { overflow-wrap: break-word; }
.samples tbody tr:first-child td { border-top-color: var(--line); }
.samples .title { font-weight: 600; margin: 0; }
.samples .sub { color: var(--muted); font-size: 12px; margin: 0 0 4px; }
.samples p { margin: 0; }
.scores { margin-top: 6px; font-size: 12px; color: var(--muted); font-variant-numeric: tabular-nums; display: flex; flex-wrap: wrap; gap: 0 10px; }
.scores b { color: var(--ink); font-weight: 600; }
.samples .best { color: var(--good); }
details summary { cursor: pointer; color: var(--muted); font-size: 12.5px; }
details[open] summary { margin-bottom: 4px; }
.samples details summary { list-style-position: inside; }
.courses { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 14px; align-items: start; }
.course > summary { color: var(--ink); font-size: 14px; font-weight: 600; overflow-wrap: anywhere; }
.course table { table-layout: fixed; font-size: 13.5px; }
.course th.number { width: 64px; } .course td { overflow-wrap: break-word; }
.course p { margin: 0; } .course .scores { margin-top: 2px; }
mark { color: inherit; background: none; padding: 0 1px; border-radius: 2px; text-underline-offset: 3px; text-decoration-thickness: 2px; text-decoration-skip-ink: none; }
mark.fact { background: var(--good-soft); text-decoration: underline solid var(--good); text-decoration-thickness: 1.5px; }
mark.fault { background: var(--bad-soft); text-decoration: underline wavy var(--bad); text-decoration-thickness: 1px; }
dl.facts { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; gap: 4px 18px; margin: 0; padding: 12px 16px; font-size: 14px; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
.dense { font-size: 13px; } .dense td { padding-top: 3px; padding-bottom: 3px; border: 0; } .dense tr:last-child td { padding-bottom: 10px; }
.panel > summary { padding: 9px 14px; }
a { color: inherit; }
.alarm { color: var(--bad); margin: 10px 0 0; font-weight: 550; }
.bar { height: 6px; border-radius: 3px; background: var(--c1); min-width: 2px; opacity: .8; }
.notes { color: var(--muted); font-size: 13.5px; max-width: 80ch; padding-left: 20px; }
footer { color: var(--muted); font-size: 12.5px; margin: 48px 0 40px; padding-top: 14px; border-top: 1px solid var(--line); }
@media (max-width: 860px) {
  main, header.top { padding-left: 16px; padding-right: 16px; }
  header.top { padding-top: 28px; }
  h1 { font-size: 24px; }
  section { margin-top: 36px; }
  th, td { padding: 7px 10px; }
  th:first-child, td:first-child { padding-left: 12px; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 8px; }
  .tile { padding: 11px 12px; } .tile .value { font-size: 22px; }
  .scroll tbody th[scope=row] { position: sticky; left: 0; background: var(--panel); }
  .scroll tr.strong th[scope=row] { background: var(--accent-soft); }
  .fields thead, .samples thead { display: none; }
  .fields, .fields tbody { display: block; width: 100%; }
  .fields tr { display: grid; grid-template-columns: 1fr 1fr; gap: 2px 12px; padding: 8px 12px; border-top: 1px solid var(--line); }
  .fields tr:first-child { border-top: 0; }
  .fields tbody th[scope=row], .fields td, .fields td:first-child, .fields td:last-child { display: block; position: static; border: 0; padding: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }
  .fields tbody th, .fields .whole { grid-column: 1 / -1; }
  .fields td[data-label]::before { content: attr(data-label) " "; color: var(--muted); font-size: 12px; }
  .samples, .samples tbody, .samples tr, .samples td { display: block; width: 100%; }
  .samples tr { padding: 12px 14px; border-top: 1px solid var(--line); }
  .samples tr:first-child { border-top: 0; }
  .samples td, .samples td:first-child, .samples td:last-child { border: 0; padding: 0 0 10px; }
  .samples td:empty { display: none; }
  .samples td[data-label]::before { content: attr(data-label); display: block; font-size: 12px; font-weight: 600; color: var(--k); }
}
@media print { body { background: #fff; } .chart, .tile { break-inside: avoid; } nav { display: none; } }
`;

/** Shows a curve's values under the pointer. Everything can be read without it. */
export const script = `
for (const figure of document.querySelectorAll("figure[data-series]")) {
  const series = JSON.parse(figure.dataset.series), [low, high] = JSON.parse(figure.dataset.range);
  const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor");
  const readout = figure.querySelector(".readout"), keys = [...readout.querySelectorAll(".key")];
  const before = keys.map((key) => key.querySelector("b").textContent);
  const place = document.createElement("span");
  const show = (value) => value === null ? "–" : figure.dataset.share
    ? (100 * value).toFixed(1) + " %" : String(Number(value.toPrecision(4))).replace("-", "−");
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * ${width};
    const x = low + (at - ${left}) / ${width - left - right} * (high - low);
    let nearest = Infinity;
    series.forEach((one, i) => {
      let best = 0;
      one.x.forEach((value, j) => { if (Math.abs(value - x) < Math.abs(one.x[best] - x)) best = j; });
      keys[i].querySelector("b").textContent = show(one.y[best]);
      if (Math.abs(one.x[best] - x) < Math.abs(nearest - x)) nearest = one.x[best];
    });
    place.textContent = figure.dataset.x + " " + nearest;
    readout.append(place);
    const position = ${left} + (nearest - low) / (high - low) * ${width - left - right};
    cursor.setAttribute("x1", position);
    cursor.setAttribute("x2", position);
    cursor.classList.add("on");
  });
  svg.addEventListener("pointerleave", () => {
    keys.forEach((key, i) => { key.querySelector("b").textContent = before[i]; });
    place.remove();
    cursor.classList.remove("on");
  });
}
`;
