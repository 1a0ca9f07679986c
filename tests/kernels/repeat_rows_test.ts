import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { repeatRows, repeatRowsReference } from "../../kernels/repeat_rows.ts";
import { gpuTest, normals } from "./testing.ts";

gpuTest(
  "later rows repeat earlier ones, as far as they are asked to, and nothing else changes",
  async (gpu) => {
    for (
      const [stride, width, first, from] of [[7, 7, 2, [1, 0, 0, 1]], [130, 65, 3, [2]], [1, 1, 1, [
        0,
        0,
      ]]] as const
    ) {
      const rows = Uint32Array.from(from), data = normals((first + rows.length + 1) * stride, 3);
      const [result] = await gpu.read(gpu.scope(() => {
        const x = gpu.from(data, [data.length / stride, stride], "x");
        repeatRows(gpu, x, { first, sources: gpu.from(rows, [rows.length], "sources"), rows, width });
        return x;
      }));
      assertEquals(result, Float32Array.from(repeatRowsReference(data, stride, { first, rows, width })));
    }
  },
);

gpuTest("sources behind the first copy, and copies that do not fit, are refused", (gpu) => {
  const x = gpu.empty([4, 8], "x");
  const repeat = (first: number, from: number[], width?: number) => () => {
    const rows = Uint32Array.from(from);
    repeatRows(gpu, x, { first, sources: gpu.from(rows, [rows.length], "sources"), rows, width });
  };
  assertThrows(repeat(2, [0, 2]), Error, "row 2 of x is not below row 2");
  assertThrows(repeat(2, [0, 1, 1]), Error, "do not fit x");
  assertThrows(repeat(2, [0], 9), Error, "do not fit x");
});
