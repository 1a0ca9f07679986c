import { assertEquals } from "deno-std/assert/mod.js";
import type { TensorEntry } from "../../../../lab/inspect/types.ts";
import { findPublished } from "../../../../lab/page/inspect/published.ts";

const entry = (id: string, shape: number[], published: TensorEntry["published"]): TensorEntry => ({
  id,
  name: id.slice(id.indexOf("/") + 1),
  published,
  role: "weight",
  shape,
  rows: shape.length === 1 ? 1 : shape[0],
  columns: shape.at(-1)!,
  dtype: "f32",
  bytes: 0,
  rowMeaning: "numbers",
  columnMeaning: "channels",
});

Deno.test("a published name finds ours, and the rows or elements that are its own", () => {
  const parts = (kind: string) => [
    { name: `q.${kind}`, row: 0, rows: 6 },
    { name: `k.${kind}`, row: 6, rows: 2 },
  ];
  const entries = [
    entry("base#firstMoment/attn.qkv.weight", [8, 4], parts("weight")),
    entry("base#weights/attn.qkv.weight", [8, 4], parts("weight")),
    entry("base#weights/attn.qkv.bias", [8], parts("bias")),
    entry("base#weights/mlp.down.weight", [4, 8], [{ name: "down_proj.weight", row: 0, rows: 4 }]),
  ];
  assertEquals(findPublished(entries, "weights/k.weight"), {
    tensor: "weights/attn.qkv.weight",
    rect: { row0: 6, row1: 8, column0: 0, column1: 4 },
  });
  assertEquals(findPublished(entries, "firstMoment/q.weight")?.tensor, "firstMoment/attn.qkv.weight");
  assertEquals(findPublished(entries, "weights/k.bias"), {
    tensor: "weights/attn.qkv.bias",
    rect: { row0: 0, row1: 1, column0: 6, column1: 8 },
  });
  assertEquals(findPublished(entries, "weights/down_proj.weight"), { tensor: "weights/mlp.down.weight" });
  assertEquals(findPublished(entries, "weights/attn.qkv.weight"), null);
});
