import { assertThrows } from "deno-std/assert/mod.js";
import { transpose, transposeReference } from "../../kernels/transpose.ts";
import { assertClose, gpuTest, normals } from "./testing.ts";

for (const windows of [false, true]) {
  for (const [rows, columns] of [[1, 4], [9, 8], [300, 132], [5, 16380]]) {
    gpuTest(`transpose ${windows ? "through windows " : ""}turns [${rows}, ${columns}] over`, async (gpu) => {
      const data = normals(rows * columns + 8, 1);
      const x = gpu.from(data, [data.length], "x"), y = gpu.hold([columns, rows], "y");
      transpose(gpu, x, y, { rows, columns, offset: 4 }, windows);
      const [actual] = await gpu.read(y);
      assertClose(actual, transposeReference(data.subarray(4), rows, columns), 0);
    });
  }
}

gpuTest("transpose refuses rows that are no multiple of four", (gpu) => {
  const x = gpu.hold([6, 6], "x");
  assertThrows(() => transpose(gpu, x, x, { rows: 6, columns: 6 }), Error, "multiples of 4");
});
