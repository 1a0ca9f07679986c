import { assertThrows } from "deno-std/assert/mod.js";
import { matrixOf, rowsOf } from "../../kernels/matrix.ts";
import { changeNumbers, rowChange, rowChangeReference } from "../../kernels/row_change.ts";
import { asIf, assertClose, gpuTest, normals, strangeNumbers } from "./testing.ts";

for (const software of [true, false]) {
  // Beyond the rows of one dimension of the grid; SwiftShader takes minutes for that many workgroups of a GPU's size.
  const many = software ? [[33000, 3]] : [];
  for (const [rows, D] of [[1, 1], [3, 5], [70, 129], ...many]) {
    gpuTest(
      `row_change agrees with f64 at [${rows}, ${D}], ${software ? "for CPUs" : "for GPUs"}`,
      async (gpu) => {
        const before = strangeNumbers(rows * D, 1, 17), after = normals(rows * D, 2);
        after[after.length - 1] = -Infinity;
        const a = gpu.from(before, [rows, D], "a"), b = gpu.from(after, [rows, D], "b");
        const changes = await asIf(gpu, software, async () => {
          const tensor = rowChange(gpu, matrixOf(a), matrixOf(b));
          const [values] = await gpu.read(tensor);
          gpu.release(tensor);
          return values;
        });
        const expected = rowChangeReference(before, after, D);
        for (let n = 0; n < changeNumbers; n++) {
          const column = (of: ArrayLike<number>) =>
            Array.from({ length: rows }, (_, r) => of[r * changeNumbers + n]);
          assertClose(column(changes), column(expected), 1e-5, `number ${n}`);
        }
        for (const tensor of [a, b]) gpu.release(tensor);
      },
    );
  }
}

gpuTest(
  "row_change goes over several tensors, from rows in their middle, and refuses other shapes",
  async (gpu) => {
    const D = 6, before = normals(20 * D, 1), after = normals(20 * D, 2);
    const cut = (x: Float32Array<ArrayBuffer>) =>
      matrixOf(
        ...[[0, 7], [7, 20]].map(([from, to]) =>
          gpu.from(x.slice(from * D, to * D), [to - from, D], `rows ${from}`)
        ),
      );
    const a = cut(before), b = cut(after);
    const changes = rowChange(gpu, rowsOf(a, 3, 12), rowsOf(b, 3, 12));
    const [actual] = await gpu.read(changes);
    assertClose(actual, rowChangeReference(before.slice(3 * D, 15 * D), after.slice(3 * D, 15 * D), D));
    assertThrows(
      () => rowChange(gpu, a, rowsOf(b, 0, 8)),
      Error,
      "cannot compare 6 columns in parts of 7,13 rows",
    );
    for (
      const tensor of [
        changes,
        ...[...a.parts, ...b.parts].map((part) => part.tensor),
      ]
    ) gpu.release(tensor);
  },
);
