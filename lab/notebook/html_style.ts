/** The looks of an exported notebook: a paper that is read, on a screen of any width, light or dark, or printed. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: light-dark(#fbfaf7, #14161a);
  --alt: light-dark(#f1efe9, #1d2026);
  --ink: light-dark(#1c1f24, #e8e6e1);
  --muted: light-dark(#5c6370, #9ca3af);
  --rule: light-dark(#dcd8cf, #343a44);
  --accent: light-dark(#1f5fa0, #7fb4f2);
  --bad: light-dark(#a8321f, #f0806b);
  --serif: "Source Serif 4", "Source Serif Pro", "Iowan Old Style", Charter, "Palatino Linotype", Georgia, "DejaVu Serif", serif;
  --sans: Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --mono: "Spline Sans Mono", ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.5 var(--serif); font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
main, footer { max-width: 960px; margin: 0 auto; padding: 0 24px; }
main { padding-top: 40px; }
section { margin: 0 0 20px; position: relative; }
h1, h2, h3, h4, h5, h6 { line-height: 1.15; text-wrap: balance; margin: 32px 0 12px; }
section:first-child > :first-child { margin-top: 0; }
h1 { font-size: 30px; } h2 { font-size: 22px; } h3, h4, h5, h6 { font-size: 17px; }
h1 + h2 { font-style: italic; font-weight: 400; color: var(--muted); margin-top: 0; }
.text > p, .text > ul, .text > ol, .text > blockquote { max-width: 72ch; }
p, ul, ol, blockquote, table, pre { margin: 0 0 12px; }
blockquote { border-left: 2px solid var(--rule); padding-left: 16px; margin-left: 0; color: var(--muted); }
a { color: var(--accent); }
code, pre { font: 14px/1.5 var(--mono); }
:not(pre) > code { background: var(--alt); padding: 1px 4px; border-radius: 3px; font-size: 13.5px; }
pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.code { background: var(--alt); border-radius: 4px; padding: 10px 14px; margin: 0 0 8px; tab-size: 2; }
.position { position: absolute; right: 100%; margin: 10px 12px 0 0; font: 12px/1.75 var(--mono); color: var(--muted); }
.output { border-left: 2px solid var(--rule); padding-left: 12px; margin-bottom: 8px; }
.output > pre { margin: 0; }
.stderr { color: var(--muted); }
.error { color: var(--bad); }
img { max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font: 14px/1.5 var(--sans); display: block; overflow-x: auto; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:not([align]) { text-align: left; }
hr { border: 0; border-top: 1px solid var(--rule); margin: 32px 0; }
details summary, .small { font: 12px/1.5 var(--sans); color: var(--muted); cursor: default; }
footer { border-top: 1px solid var(--rule); margin-top: 48px; padding-top: 16px; padding-bottom: 40px; font: 12px/1.5 var(--sans); color: var(--muted); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0 0 12px; }
dt, dd { margin: 0; overflow-wrap: anywhere; }
footer code { font-size: 12px; }
@media (max-width: 1060px) { .position { position: static; margin: 0 0 2px; line-height: 1.2; } }
@media (max-width: 480px) { main, footer { padding-left: 16px; padding-right: 16px; } main { padding-top: 24px; } dl { grid-template-columns: 1fr; } dd { margin-bottom: 6px; } }
@media print {
  :root { color-scheme: light; }
  body { background: #fff; color: #000; font-size: 11pt; }
  .code { border: 1px solid #ccc; background: none; }
  .code, .output > img, tr { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  footer a { text-decoration: none; }
}
`;
