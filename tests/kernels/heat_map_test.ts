import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { cellStarts, heatMap, heatMapReference, readCells } from "../../kernels/heat_map.ts";
import { type Matrix, matrixOf, rowsOf } from "../../kernels/matrix.ts";
import type { Gpu } from "../../kernels/gpu.ts";
import { asIf, assertClose, gpuTest, normals, strangeNumbers } from "./testing.ts";

async function cellsOf(
  gpu: Gpu,
  matrix: Matrix,
  rowStarts: Uint32Array<ArrayBuffer>,
  columnStarts: Uint32Array<ArrayBuffer>,
  scale = 1,
  order?: Uint32Array<ArrayBuffer>,
) {
  const cells = gpu.scope(() => heatMap(gpu, matrix, rowStarts, columnStarts, scale, order));
  const [raw] = await gpu.readU32(cells);
  gpu.release(cells);
  return readCells(raw, rowStarts, columnStarts, scale);
}

async function check(
  gpu: Gpu,
  x: Float32Array<ArrayBuffer>,
  matrix: Matrix,
  rowStarts: Uint32Array<ArrayBuffer>,
  columnStarts: Uint32Array<ArrayBuffer>,
  order?: Uint32Array<ArrayBuffer>,
) {
  const expected = heatMapReference(x, matrix.columns, rowStarts, columnStarts, order);
  for (const software of [true, false]) {
    const actual = await asIf(
      gpu,
      software,
      () => cellsOf(gpu, matrix, rowStarts, columnStarts, 1, order),
    );
    for (const what of ["nonFinite", "zeros", "finite"] as const) {
      assertEquals(actual[what], expected[what], what);
    }
    assertEquals(new Uint32Array(actual.extreme.buffer), new Uint32Array(expected.extreme.buffer), "extreme");
    assertClose(actual.sum, expected.sum, 1e-5, "sum");
    assertClose(actual.squares, expected.squares, 1e-5, "squares");
  }
}

const shapes = [
  [1, 1, 1, 1],
  [3, 5, 2, 2],
  [70, 129, 7, 9],
  [513, 40, 4, 40],
  [200, 700, 200, 3],
  [9, 300, 9, 300],
  [1, 900, 1, 1],
  [700, 1, 2, 1],
];
for (const [rows, columns, height, width] of shapes) {
  gpuTest(
    `heat_map agrees with the host at [${rows}, ${columns}] in [${height}, ${width}] cells`,
    async (gpu) => {
      const x = strangeNumbers(rows * columns, rows + columns, 7);
      const tensor = gpu.from(x, [rows, columns], "x");
      await check(gpu, x, matrixOf(tensor), cellStarts(0, rows, height), cellStarts(0, columns, width));
      gpu.release(tensor);
    },
  );
}

gpuTest("heat_map merges cells that straddle tensors, and reads rows of the middle of one", async (gpu) => {
  const columns = 33, cuts = [10, 1, 30, 59];
  const x = strangeNumbers(100 * columns, 5, 11);
  let start = 0;
  const tensors = cuts.map((rows) => {
    const part = x.slice(start * columns, (start + rows) * columns);
    start += rows;
    return gpu.from(part, [rows, columns], `rows ${start}`);
  });
  const matrix = matrixOf(...tensors);
  for (const cells of [1, 3, 7, 100]) {
    await check(gpu, x, matrix, cellStarts(0, 100, cells), cellStarts(0, columns, 5));
  }
  await check(gpu, x, matrix, cellStarts(8.4, 71.2, 6), cellStarts(3.5, 20.1, 9));
  const some = rowsOf(matrix, 7, 50);
  assertEquals(some.parts.map(({ from, rows }) => [from, rows]), [[7 * columns, 3], [0, 1], [0, 30], [
    0,
    16,
  ]]);
  await check(gpu, x.slice(7 * columns, 57 * columns), some, cellStarts(0, 50, 4), cellStarts(0, columns, 2));
  for (const tensor of tensors) gpu.release(tensor);
});

/** All of so many rows, in a fixed order that is none of theirs. */
function shuffled(count: number, seed: number): Uint32Array<ArrayBuffer> {
  const keys = normals(count, seed);
  return Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => keys[a] - keys[b]);
}

gpuTest("heat_map reads rows through an order, over several tensors and at every zoom", async (gpu) => {
  const columns = 33, rows = 100, x = strangeNumbers(rows * columns, 8, 11);
  let start = 0;
  const tensors = [10, 1, 30, 59].map((count) => {
    const part = x.slice(start * columns, (start += count) * columns);
    return gpu.from(part, [count, columns], `rows up to ${start}`);
  });
  const matrix = matrixOf(...tensors), order = shuffled(rows, 4);
  assert(order.some((row, place) => row !== place));
  for (const cells of [1, 3, 7, rows]) {
    await check(gpu, x, matrix, cellStarts(0, rows, cells), cellStarts(0, columns, 5), order);
  }
  const part = cellStarts(8.4, 71.2, 6);
  await check(gpu, x, matrix, part, cellStarts(3.5, 20.1, 9), order.slice(part[0], part[6]));
  // Whole tensors may be out of sight.
  const few = Uint32Array.of(12, 99, 10);
  await check(gpu, x, matrix, cellStarts(50, 53, 3), cellStarts(0, columns, columns), few);
  const some = rowsOf(matrix, 7, 50);
  const own = x.slice(7 * columns, 57 * columns);
  await check(gpu, own, some, cellStarts(0, 50, 4), cellStarts(0, columns, 2), shuffled(50, 5));

  const starts = [cellStarts(0, 2, 2), cellStarts(0, columns, 1)] as const;
  assertThrows(
    () => heatMap(gpu, matrix, ...starts, 1, Uint32Array.of(3)),
    Error,
    "order of 1 rows is given for 2",
  );
  assertThrows(
    () => heatMap(gpu, matrix, ...starts, 1, Uint32Array.of(3, 100)),
    Error,
    "row 100 of an order",
  );
  for (const tensor of tensors) gpu.release(tensor);
});

gpuTest("one element a cell gives the very bits of every finite value", async (gpu) => {
  const x = strangeNumbers(40 * 30, 9, 5);
  const tensor = gpu.from(x, [40, 30], "x");
  const rowStarts = cellStarts(10.25, 20.5, 600), columnStarts = cellStarts(2, 29.5, 1000);
  assertEquals([rowStarts.length - 1, columnStarts.length - 1], [11, 28]);
  const { extreme, nonFinite } = await cellsOf(gpu, matrixOf(tensor), rowStarts, columnStarts);
  const bits = new Uint32Array(extreme.buffer), all = new Uint32Array(x.buffer);
  let strays = 0;
  for (let i = 0; i < 11 * 28; i++) {
    const from = all[(10 + Math.floor(i / 28)) * 30 + 2 + i % 28];
    if (nonFinite[i]) strays++;
    else assertEquals(bits[i], from, `cell ${i}`);
    assertEquals(nonFinite[i], (from & 0x7f800000) === 0x7f800000 ? 1 : 0);
  }
  assert(strays > 5);
  gpu.release(tensor);
});

gpuTest("a scale keeps squares of tiny and of huge numbers", async (gpu) => {
  for (const size of [1e-30, 1e30]) {
    const x = normals(1000, 3, size);
    const tensor = gpu.from(x, [10, 100], "x");
    const scale = 2 ** -Math.round(Math.log2(size));
    const starts = [cellStarts(0, 10, 2), cellStarts(0, 100, 3)] as const;
    const { squares } = await cellsOf(gpu, matrixOf(tensor), ...starts, scale);
    assertClose(
      Array.from(squares, (s) => s / size ** 2),
      Array.from(heatMapReference(x, 100, ...starts).squares, (s) => s / size ** 2),
      1e-5,
      `squares of numbers around ${size}`,
    );
    gpu.release(tensor);
  }
});

Deno.test("cells cover what a part touches, without gap, overlap or empty cell, at every zoom", () => {
  for (const size of [1, 7, 896, 151936]) {
    for (const most of [1, 3, 600, 1000]) {
      for (let zoom = 1; zoom < 2 * size; zoom *= 1.7) {
        for (const at of [0, 0.31, 0.99]) {
          const span = size / zoom, from = at * (size - span), to = from + span;
          const starts = cellStarts(from, to, most);
          assert(starts.length - 1 <= most && starts.length > 1);
          assertEquals(starts[0], Math.floor(from));
          assertEquals(starts.at(-1), Math.max(Math.floor(from) + 1, Math.ceil(to)));
          for (let i = 1; i < starts.length; i++) {
            assert(starts[i] > starts[i - 1], `${from} to ${to} in ${most}`);
          }
        }
      }
    }
  }
});

gpuTest("cells outside the matrix are refused", (gpu) => {
  const tensor = gpu.from(new Float32Array(6), [2, 3], "x");
  assertThrows(
    () => heatMap(gpu, matrixOf(tensor), Uint32Array.of(0, 3), Uint32Array.of(0, 3)),
    Error,
    "leave a matrix of [2, 3]",
  );
  assertThrows(
    () => matrixOf(tensor, gpu.from(new Float32Array(4), [1, 4], "y")),
    Error,
    "does not continue rows of 3",
  );
});

gpuTest("cells taller than an invocation may go round are whole, and so are wide ones", async (gpu) => {
  for (const [rows, columns] of [[150_000, 3], [400, 5000]]) {
    const tensor = gpu.hold([rows, columns], "x"), x = normals(rows * columns, 1);
    gpu.upload(tensor, x);
    const starts = [cellStarts(0, rows, 1), cellStarts(0, columns, 1)] as const;
    const { sum, squares, zeros, finite } = await cellsOf(gpu, matrixOf(tensor), ...starts);
    const expected = heatMapReference(x, columns, ...starts);
    assertEquals([finite, zeros], [expected.finite, expected.zeros]);
    assertClose(squares, expected.squares, 1e-5);
    assertClose(sum, expected.sum, 1e-3);
    const ordered = await cellsOf(gpu, matrixOf(tensor), ...starts, 1, shuffled(rows, 2));
    assertEquals([ordered.finite, ordered.zeros], [expected.finite, expected.zeros]);
    assertClose(ordered.squares, expected.squares, 1e-5, "squares in another order");
    gpu.release(tensor);
  }
});
