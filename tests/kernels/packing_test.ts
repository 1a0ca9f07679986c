import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { packSequences, tilesOf } from "../../kernels/packing.ts";

Deno.test("packed sequences know their starts, positions and owners", () => {
  const { tokens, starts, positions, sequences } = packSequences([2, 1, 3]);
  assertEquals(tokens, 6);
  assertEquals([...starts], [0, 2, 3, 6]);
  assertEquals([...positions], [0, 1, 0, 0, 1, 2]);
  assertEquals([...sequences], [0, 0, 1, 2, 2, 2]);
});

Deno.test("tiles cover every row once, stay in their sequence, and come with most work first", () => {
  for (const lengths of [[1], [31, 32, 33], [100, 7, 64, 65]]) {
    const batch = packSequences(lengths);
    for (const [of, rows] of [["queries", 16], ["keys", 8]] as const) {
      const tiles = tilesOf(batch.starts, rows, of);
      const seen = new Uint8Array(batch.tokens);
      const work: number[] = [];
      for (let i = 0; i < tiles.length; i += 4) {
        const [first, end, row] = tiles.subarray(i, i + 3);
        const b = batch.sequences[row];
        assertEquals([first, end], [batch.starts[b], batch.starts[b + 1]]);
        for (let t = row; t < Math.min(end, row + rows); t++) seen[t]++;
        work.push(of === "queries" ? Math.min(end, row + rows) - first : end - row);
      }
      assertEquals(seen, new Uint8Array(batch.tokens).fill(1));
      assertEquals(work, work.toSorted((a, b) => b - a));
    }
  }
});

Deno.test("empty batches and empty sequences are refused", () => {
  assertThrows(() => packSequences([]), Error, "at least one sequence");
  assertThrows(() => packSequences([3, 0]), Error, "sequence 1");
  assertThrows(() => packSequences([1.5]), Error, "sequence 0");
});
