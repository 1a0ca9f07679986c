/** How two models of one shape differ: tensor by tensor, and row by row. */
import type { Gpu } from "../../kernels/gpu.ts";
import { type Matrix, matrixOf } from "../../kernels/matrix.ts";
import { changeNumbers, rowChange } from "../../kernels/row_change.ts";
import type { Qwen2 } from "../qwen2.ts";
import { NoSuchTensor, wholeParameters } from "./tensors.ts";
import type { MovedRow, TensorChange } from "./types.ts";

/**
 * The change of every tensor that both have, in a's order. Heads that only one has (a critic's) are left out.
 * @throws RangeError where shapes differ
 */
export async function tensorChanges(gpu: Gpu, a: Qwen2, b: Qwen2): Promise<TensorChange[]> {
  const others = wholeParameters(b), changes: TensorChange[] = [];
  for (const [name, tensors] of wholeParameters(a)) {
    if (!others.has(name)) continue;
    const rows = await rowsOfChange(gpu, a, b, name);
    let squares = 0, before = 0, largest = 0, nonFinite = 0;
    for (let at = 0; at < rows.length; at += changeNumbers) {
      squares += rows[at];
      before += rows[at + 2];
      largest = Math.max(largest, rows[at + 4]);
      nonFinite += rows[at + 5];
    }
    const shape = tensors.length > 1
      ? [rows.length / changeNumbers, tensors[0].shape[1]]
      : [...tensors[0].shape];
    const norm = Math.sqrt(squares);
    changes.push({ name, shape, relative: relative(norm, Math.sqrt(before)), largest, norm, nonFinite });
  }
  return changes;
}

/**
 * The rows of a tensor that moved furthest from a to b, the furthest first.
 * @param by distance, or distance over the norm of a's row
 */
export async function movedRows(
  gpu: Gpu,
  a: Qwen2,
  b: Qwen2,
  name: string,
  count: number,
  by: "distance" | "relative" = "distance",
): Promise<MovedRow[]> {
  const numbers = await rowsOfChange(gpu, a, b, name);
  const rows = Array.from({ length: numbers.length / changeNumbers }, (_, row): MovedRow => {
    const [squares, dot, before, after] = numbers.subarray(row * changeNumbers);
    const distance = Math.sqrt(squares), lengths = Math.sqrt(before) * Math.sqrt(after);
    return {
      row,
      distance,
      relative: relative(distance, Math.sqrt(before)),
      cosine: lengths > 0 ? Math.max(-1, Math.min(1, dot / lengths)) : NaN,
    };
  });
  return rows.sort((x, y) => y[by] - x[by] || x.row - y.row).slice(0, count);
}

/**
 * How far each row of b is from that of a.
 * @throws RangeError where shapes differ
 */
export async function rowDistances(
  gpu: Gpu,
  a: Matrix,
  b: Matrix,
  names: readonly [string, string],
): Promise<{ distance: Float64Array<ArrayBuffer>; nonFinite: Uint32Array<ArrayBuffer> }> {
  const numbers = await changesOf(gpu, a, b, names);
  const distance = new Float64Array(a.rows), nonFinite = new Uint32Array(a.rows);
  for (let row = 0; row < a.rows; row++) {
    distance[row] = Math.sqrt(numbers[row * changeNumbers]);
    nonFinite[row] = numbers[row * changeNumbers + 5];
  }
  return { distance, nonFinite };
}

function relative(norm: number, before: number): number {
  return before > 0 ? norm / before : norm > 0 ? Infinity : 0;
}

/** The numbers of {@link rowChange}, row after row. */
async function rowsOfChange(gpu: Gpu, a: Qwen2, b: Qwen2, name: string): Promise<Float32Array> {
  const [left, right] = [a, b].map((model) => {
    const tensors = wholeParameters(model).get(name);
    if (!tensors) throw new NoSuchTensor(`${model.name} has no tensor "${name}".`);
    return matrixOf(...tensors);
  });
  return await changesOf(gpu, left, right, [`"${name}" of ${a.name}`, `"${name}" of ${b.name}`]);
}

/**
 * The numbers of {@link rowChange}, row after row.
 * @param names of the two, for whoever is told that they cannot be compared
 */
async function changesOf(
  gpu: Gpu,
  left: Matrix,
  right: Matrix,
  names: readonly [string, string],
): Promise<Float32Array> {
  if (left.rows !== right.rows || left.columns !== right.columns) {
    throw new RangeError(
      `${names[0]} is [${left.rows}, ${left.columns}] and ${
        names[1]
      } [${right.rows}, ${right.columns}]: there is nothing to compare.`,
    );
  }
  const changes = gpu.scope(() => rowChange(gpu, left, right));
  const [numbers] = await gpu.read(changes);
  gpu.release(changes);
  return numbers;
}
