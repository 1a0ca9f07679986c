/** A chart as a picture on its own, for readers of notebooks that know nothing of our chart's JSON. */
import { chartFrame, lineChart } from "../report/chart.ts";

/** One curve. `y` is null where there is no value. */
export interface Series {
  name: string;
  x: readonly number[];
  y: readonly (number | null)[];
  /** Which colour of the palette, 1 to 4; in order by default. */
  colour?: 1 | 2 | 3 | 4;
  /** Draw points too. */
  points?: boolean;
}

/** Mid tones, that can be read on white and on black. */
const colours = { 1: "#3b82c4", 2: "#c96a1f", 3: "#5c9440", 4: "#7f858f" };

/** SVG with its colours in it. */
export function svgChart(
  series: readonly Series[],
  { title = "", xName = "", unit }: { title?: string; xName?: string; unit?: string },
): string {
  const coloured = series.map((one, i) => ({
    ...one,
    colour: one.colour ?? (i % 4 + 1) as 1 | 2 | 3 | 4,
  }));
  const { width, height, left, right } = chartFrame;
  const drawn = /<svg[^]*<\/svg>/.exec(lineChart({ title, xName, unit, series: coloured }).source)?.[0];
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${2 * width}"`;
  if (!drawn) {
    return `${head} viewBox="0 0 ${width} 24"><text x="8" y="16" font-size="10">nothing to draw</text></svg>`;
  }
  const style =
    `<style>text{font:9px sans-serif;fill:#7f858f}path,line{fill:none;stroke:#7f858f;stroke-width:.5}` +
    `.cursor{display:none}.grid{opacity:.4}path{stroke-width:1.5}.faint{opacity:.3}` +
    coloured.map(({ colour }) =>
      `path.k${colour}{stroke:${colours[colour]}}circle.k${colour},text.k${colour}{fill:${colours[colour]}}`
    ).join("") + "</style>";
  const names = coloured.map(({ name, colour }, i) =>
    `<text class="k${colour}" x="${left + (i % 3) * (width - left - right) / 3}" y="${
      height + 12 + 12 * Math.floor(i / 3)
    }">${escaped(name)}</text>`
  ).join("");
  const whole = height + 6 + 12 * Math.ceil(coloured.length / 3);
  return drawn
    .replace(/^<svg viewBox="[^"]*"/, `${head} viewBox="0 0 ${width} ${whole}"`)
    .replace(/>/, `>${style}`)
    .replace(/<\/svg>$/, `${names}</svg>`);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
