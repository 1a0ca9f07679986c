/** Numbers for people: in the terminal, in reports, in the page. */

/** About four significant digits: "2.310", "0.0042", "3e-6", "12,345". What is not finite is "–". */
export function formatFigure(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-3) return shortExponent(value.toExponential(1));
  if (Number.isInteger(value) || size >= 10_000) return minus(groupThousands(Math.round(value)));
  return minus(value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 ? 3 : 4));
}

/** With a fixed number of decimals and a real minus sign; "–" where there is no number. */
export function fixed(value: number | null | undefined, decimals = 2): string {
  return value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : minus(value.toFixed(decimals));
}

/** A share as per cent: "63 %", "63.2 %". */
export function percent(share: number | null | undefined, decimals = 0): string {
  const text = fixed(share === null || share === undefined ? share : 100 * share, decimals);
  return text === "–" ? text : `${text} %`;
}

/** "950", "12.3k", "4.56M": three digits. */
export function shortCount(value: number): string {
  for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (Math.abs(value) >= size * 0.9995) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** "0.8 s", "42 s", "3:07", "2:03:07", "4 d 03:12". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(Math.floor(n)).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}:${two(minutes % 60)}:${two(whole % 60)}`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)}:${two(minutes % 60)}`;
}

/** "512 B", "1.5 MiB", "15.8 GiB". */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes, unit = 0;
  while (size >= 1023.5 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${unit === 0 ? size : Number(size.toPrecision(3))} ${units[unit]}`;
}

/** 116,722 */
export function groupThousands(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function minus(text: string): string {
  return text.replace(/^-/, "−");
}

function shortExponent(text: string): string {
  return minus(text.replace(/\.0e/, "e").replace("e-", "e−").replace("e+", "e"));
}

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
/** Characters that terminals draw two columns wide: CJK, Hangul, full-width forms, emoji. */
const wide =
  /\p{Emoji_Presentation}|\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{20000}-\u{3fffd}]/u;

/** How many columns a terminal takes for a text without control characters; an estimate for rare scripts. */
export function columnsOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  return Array.from(graphemes.segment(text)).reduce(
    (sum, { segment }) => sum + (wide.test(segment) ? 2 : 1),
    0,
  );
}

/** The text, cut with an ellipsis where it is wider than `columns`. */
export function fitColumns(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let kept = "", used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const size = wide.test(segment) ? 2 : 1;
    if (used + size > columns - 1) break;
    kept += segment;
    used += size;
  }
  return columns < 1 ? "" : kept + "…";
}
