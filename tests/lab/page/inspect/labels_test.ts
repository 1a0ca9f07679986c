import { assertEquals } from "deno-std/assert/mod.js";
import { numbered, positionLabels, visible, vocabularyLabels } from "../../../../lab/page/inspect/labels.ts";
import { matches } from "../../../../lab/page/inspect/matches.ts";

const words = ["a", " the", "then", " bathe", "\n", "The"];

Deno.test("rows that stand for tokens are called by them, and found by text or number", () => {
  const labels = vocabularyLabels(words, 8);
  assertEquals(labels.long(1), "“·the” = 1");
  assertEquals(labels.long(7), "id 7");
  assertEquals(labels.short(4), "↵");
  // The same word first, in any case, then beginnings, then the rest.
  assertEquals(labels.find("the"), [1, 5, 2, 3]);
  assertEquals(labels.find("5"), [5]);
  assertEquals(labels.find("8"), []);
  assertEquals(labels.find(""), []);
});

Deno.test("positions are called by the token that is there, others by number", () => {
  const labels = positionLabels([{ id: 4, text: " so" }], 3);
  assertEquals([labels.long(0), labels.long(2)], ["“·so” at 0", "position 2"]);
  const dims = numbered("dim", 10);
  assertEquals([dims.long(3), dims.short(3), dims.find("9"), dims.find("10")], ["dim 3", "", [9], []]);
  assertEquals(visible("a\tb c"), "a⇥b·c");
});

Deno.test("tensors are found by words of either name, with * for anything", () => {
  const entry = {
    name: "layers.3.attn.qkv.weight",
    role: "weight" as const,
    published: [{ name: "model.layers.3.self_attn.q_proj.weight", row: 0, rows: 4 }],
  };
  for (const sought of ["qkv", "layers.*.qkv", "q_proj", "3 ATTN", "weight qkv"]) {
    assertEquals(matches(entry, sought), true, sought);
  }
  for (const sought of ["mlp", "layers.*.mlp", "qkv gradient", "layersx3"]) {
    assertEquals(matches(entry, sought), false, sought);
  }
});
