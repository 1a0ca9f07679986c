/** How far two matrices of one shape are apart, row by row. */
import source from "./row_change.wgsl" with { type: "text" };
import type { Gpu } from "./gpu.ts";
import { kernel } from "./kernel.ts";
import type { Matrix } from "./matrix.ts";
import { rowGrid } from "./reduce.ts";
import type { Tensor } from "./tensor.ts";

const rowChangeKernel = kernel("row_change", source);

/** Numbers of a row in {@link rowChange}'s result. */
export const changeNumbers = 6;

/**
 * Compares each row of `a` with that of `b`, which must be cut into parts alike.
 * @returns f32 [rows, 6]: Σ (b − a)², Σ a·b, Σ a², Σ b², max |b − a|, and how many elements are not finite in one of them, which count
 * in nothing else
 */
export function rowChange(gpu: Gpu, a: Matrix, b: Matrix): Tensor {
  const shape = ({ columns, parts }: Matrix) =>
    `${columns} columns in parts of ${parts.map(({ rows }) => rows)}`;
  if (shape(a) !== shape(b)) throw new Error(`cannot compare ${shape(a)} rows with ${shape(b)}`);
  const changes = gpu.empty([a.rows, changeNumbers], "row_change");
  let to = 0;
  a.parts.forEach(({ tensor, from, rows }, i) => {
    const scalars = { rows, D: a.columns, aOffset: from, bOffset: b.parts[i].from, to };
    const lanes = gpu.facts.software ? 8 : 64;
    gpu.run(rowChangeKernel, { a: tensor, b: b.parts[i].tensor, changes }, scalars, rowGrid(rows), { lanes });
    to += rows;
  });
  return changes;
}

/** The same in f64 on the host. */
export function rowChangeReference(a: ArrayLike<number>, b: ArrayLike<number>, D: number): Float64Array {
  const rows = a.length / D, changes = new Float64Array(rows * changeNumbers);
  for (let r = 0; r < rows; r++) {
    const at = r * changeNumbers;
    for (let i = r * D; i < (r + 1) * D; i++) {
      if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) {
        changes[at + 5]++;
        continue;
      }
      changes[at] += (b[i] - a[i]) ** 2;
      changes[at + 1] += a[i] * b[i];
      changes[at + 2] += a[i] ** 2;
      changes[at + 3] += b[i] ** 2;
      changes[at + 4] = Math.max(changes[at + 4], Math.abs(b[i] - a[i]));
    }
  }
  return changes;
}
