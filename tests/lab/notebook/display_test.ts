import { assert, assertEquals } from "deno-std/assert/mod.js";
import {
  chartBundle,
  jsonOf,
  postBundle,
  stripBundle,
  tableBundle,
  tensorBundle,
} from "../../../lab/notebook/display.ts";

Deno.test("a table is aligned text, escaped HTML and JSON", () => {
  const bundle = tableBundle([{ name: "<b>", score: 1.5 }, { name: "long name", score: 22 }]);
  assertEquals(
    bundle["text/plain"],
    "name       score\n─────────  ─────\n<b>        1.500\nlong name     22",
  );
  assert(
    (bundle["text/html"] as string).includes("&#60;b&#62;") &&
      !(bundle["text/html"] as string).includes("<b>"),
  );
  assertEquals(bundle["application/vnd.precis.table+json"], {
    columns: ["name", "score"],
    rows: [["<b>", 1.5], ["long name", 22]],
  });
});

Deno.test("a chart has its JSON, a picture that stands alone, and words", () => {
  const bundle = chartBundle([{ name: "<x>", x: [0, 1, 2], y: [1, null, 3] }], { title: "t", xName: "step" });
  const svg = bundle["image/svg+xml"] as string;
  assert(
    svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"') && svg.endsWith("</svg>") &&
      !svg.includes("<x>"),
    svg,
  );
  assert(!/<script|on\w+=|href/.test(svg));
  assertEquals(bundle["text/plain"], "t\n<x>: 1 → 3, 2 points");
  const empty = chartBundle([], {});
  assert((empty["image/svg+xml"] as string).includes("nothing to draw"));
});

Deno.test("tokens and posts are text that cannot become markup", () => {
  const strip = stripBundle([{ text: "<i>", id: 3, values: { kl: 0.5 } }, {
    text: " b",
    values: { kl: NaN, reward: 1 },
  }]);
  assert(!(strip["text/html"] as string).includes("<i>"));
  assertEquals(strip["application/vnd.precis.strip+json"], {
    lanes: ["kl", "reward"],
    tokens: [{ text: "<i>", id: 3, values: [0.5, null] }, { text: " b", values: ["NaN", 1] }],
  });
  const post = postBundle({ subreddit: "s", title: "<img src=x>", post: "p" }, []);
  assert(!(post["text/html"] as string).includes("<img"));
});

Deno.test("a tensor's picture is a PNG; one number has none", async () => {
  const stats = { count: 4, nan: 1, infinite: 0, zeros: 0, min: -1, max: 2, mean: 0.5, rms: 1.2, absmax: 2 };
  const view = {
    rows: 2,
    columns: 2,
    width: 2,
    height: 2,
    extreme: Float32Array.of(1, -1, 2, NaN),
    stats,
    digest: "d",
  };
  const bundle = await tensorBundle({ name: "x", shape: [2, 2], dtype: "f32" }, view);
  const png = Uint8Array.from(atob(bundle["image/png"] as string), (character) => character.charCodeAt(0));
  assertEquals([...png.slice(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
  assertEquals(bundle["text/plain"], "x f32[2, 2]  mean 0.500, rms 1.200, −1 to 2, 1 not finite");
  const one = await tensorBundle({ name: "x", shape: [1], dtype: "f32" }, { ...view, width: 1, height: 1 });
  assert(!("image/png" in one));
});

Deno.test("values become JSON without losing what JSON lacks", () => {
  assertEquals(
    jsonOf({ a: NaN, b: -Infinity, c: [undefined, 5n], d: Float32Array.of(1), e: undefined, f: () => {} }),
    {
      a: "NaN",
      b: "-Infinity",
      c: [null, "5"],
      d: [1],
      f: null,
    },
  );
});
