import { assertThrows } from "deno-std/assert/mod.js";
import { gatherRows, gatherRowsReference } from "../../kernels/gather_rows.ts";
import { assertClose, gpuTest, normals, parameter } from "./testing.ts";

for (const [T, D, rows] of [[1, 8, [0]], [65, 50, [0, 3, 4, 64]], [130, 64, [129]], [4, 3, []]] as const) {
  gpuTest(
    `gatherRows picks ${rows.length} of ${T} rows of ${D} and hands their gradients back`,
    async (gpu) => {
      const values = normals(T * D, 1), dy = normals(rows.length * D, 2);
      const expected = gatherRowsReference(values, D, rows, dy);
      const x = parameter(gpu, values, [T, D], "x");
      const pass = () =>
        gpu.scope(() =>
          gpu.keep(gpu.differentiate(
            () => gatherRows(gpu, x, Uint32Array.from(rows)),
            gpu.from(dy, [rows.length, D], "dy"),
          ))
        );
      const y = pass();
      assertClose((await gpu.read(y))[0], expected.y, 0, "y");
      assertClose((await gpu.read(x.grad!))[0], expected.dx, 0, "dx");
      gpu.release(pass());
      assertClose((await gpu.read(x.grad!))[0], expected.dx.map((value) => 2 * value), 0, "dx twice");
      x.grad = null;
      const garbage = gpu.hold([T, D], "garbage");
      gpu.upload(garbage, new Float32Array(T * D).fill(NaN));
      gpu.release(garbage);
      gpu.release(pass());
      assertClose((await gpu.read(x.grad!))[0], expected.dx, 0, "dx over garbage");
    },
  );
}

gpuTest("gatherRows refuses rows that do not rise or are not there", (gpu) => {
  const x = parameter(gpu, normals(8, 1), [4, 2], "x");
  assertThrows(() => gatherRows(gpu, x, Uint32Array.of(1, 1)), Error, "rise strictly");
  assertThrows(() => gatherRows(gpu, x, Uint32Array.of(4)), Error, "4 rows of x");
});
