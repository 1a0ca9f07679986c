import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { embedding, embeddingIndex, embeddingReference } from "../../kernels/embedding.ts";
import { fold, tensorRanges } from "./ranges.ts";
import { assertClose, gpuTest, normals, uniforms } from "./testing.ts";

for (const [T, V, D, cuts] of [[1, 5, 8, []], [65, 513, 50, [200, 201]], [300, 640, 64, [320]]] as const) {
  gpuTest(
    `embedding and its table's gradient agree with plain loops at T ${T}, V ${V}, D ${D}, ${
      cuts.length + 1
    } ranges`,
    async (gpu) => {
      const next = uniforms(5), values = normals(V * D, 1), dx = normals(T * D, 2);
      const ids = Uint32Array.from({ length: T }, () => Math.floor(next() ** 3 * V));
      const table = tensorRanges(gpu, values, V, D, cuts);
      const x = gpu.scope(() =>
        gpu.keep(gpu.differentiate(
          () => embedding(gpu, table, gpu.from(ids, [T], "tokens"), embeddingIndex(gpu, ids)),
          gpu.from(dx, [T, D], "dx"),
        ))
      );
      const expected = embeddingReference(values, D, ids, dx);
      assertClose((await gpu.read(x))[0], expected.x, 0, "x");
      assertClose(fold(await gpu.read(...table.map((rows) => rows.grad!))), expected.dtable, 1e-5, "dtable");
    },
  );
}

gpuTest("embedding's gradient is added to what is there, and overwrites what is garbage", async (gpu) => {
  const values = normals(6 * 4, 1), ids = Uint32Array.of(5, 1, 5), dx = normals(3 * 4, 2);
  const table = tensorRanges(gpu, values, 6, 4, [3]);
  const expected = embeddingReference(values, 4, ids, dx).dtable;
  const pass = () =>
    gpu.scope(() => {
      gpu.differentiate(
        () => embedding(gpu, table, gpu.from(ids, [3], "tokens"), embeddingIndex(gpu, ids)),
        gpu.from(dx, [3, 4], "dx"),
      );
    });
  pass();
  pass();
  const twice = fold(await gpu.read(...table.map((rows) => rows.grad!)));
  assertClose(twice, expected.map((value) => 2 * value), 1e-6);
  for (const rows of table) rows.grad = null;
  const garbage = gpu.hold([3, 4], "garbage");
  gpu.upload(garbage, new Float32Array(12).fill(NaN));
  gpu.release(garbage);
  pass();
  assertClose(fold(await gpu.read(...table.map((rows) => rows.grad!))), expected, 1e-6);
  for (const rows of table) gpu.release(rows.grad!);
});

gpuTest(
  "embedding refuses an id outside the table, shows an unchecked one as NaN, and wants an index for a gradient",
  async (gpu) => {
    const table = tensorRanges(gpu, normals(5 * 2, 1), 5, 2, [2]);
    const ids = Uint32Array.of(1, 5);
    gpu.scope(() => {
      assertThrows(
        () => embedding(gpu, table, gpu.from(ids, [2], "tokens"), embeddingIndex(gpu, ids)),
        Error,
        "id 5 is outside the table of 5 rows",
      );
      assertThrows(
        () => gpu.differentiate(() => embedding(gpu, table, gpu.from(ids, [2], "tokens"))),
        Error,
        "embeddingIndex",
      );
    });
    const x = gpu.scope(() => embedding(gpu, table, gpu.from(ids, [2], "tokens")));
    const [rows] = await gpu.read(x);
    assertEquals([...rows].map(Number.isNaN), [false, false, true, true]);
    gpu.release(x);
  },
);
