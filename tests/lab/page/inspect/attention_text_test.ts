import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { attentionOf, scaled, withoutSink } from "../../../../lab/page/inspect/attention_text.ts";

const map = Float32Array.of(1, 0, 0, 0.75, 0.25, 0, 0.5, 0.125, 0.375);

Deno.test("without the first token the others' shares are of the rest", () => {
  const rest = withoutSink(map, 3);
  assertEquals([...rest], [0, 0, 0, 0, 1, 0, 0, 0.25, 0.75]);
  // A row that looks at nothing else stays empty.
  assertEquals([...withoutSink(Float32Array.of(1, 0, 1, 0), 2)], [0, 0, 0, 0]);
});

Deno.test("scales keep 0 and 1, and the order of what lies between", () => {
  for (const scale of ["root", "linear", "log"] as const) {
    const shown = scaled(map, 3, scale);
    assertEquals([shown[0], shown[1]], [1, 0]);
    assert(shown[7] < shown[8] && shown[8] < shown[6], scale);
  }
  assertAlmostEquals(scaled(Float32Array.of(0.1), 1, "log")[0], 2 / 3, 1e-6);
  assertEquals(scaled(Float32Array.of(1e-4), 1, "log")[0], 0);
  assertEquals([...scaled(map, 3, "rank")].map((v) => Math.round(v * 6) / 6), [
    1,
    0,
    0,
    1,
    0.5,
    0,
    1,
    2 / 6,
    4 / 6,
  ]);
});

Deno.test("a token's row and its column", () => {
  assertEquals([...attentionOf(map, 3, 2, "from")], [0.5, 0.125, 0.375]);
  assertEquals([...attentionOf(map, 3, 0, "to")], [1, 0.75, 0.5]);
});
