/** A matrix that may lie in several tensors, or in some rows of one: what kernels that look at tensors read. */
import type { Tensor } from "./tensor.ts";

/** Consecutive rows of a matrix, where they lie. */
export interface MatrixPart {
  tensor: Tensor;
  /** The element of the tensor at which the first of the rows begins. */
  from: number;
  rows: number;
}

/** [rows, columns], f32, row-major; the parts follow one another. */
export interface Matrix {
  rows: number;
  columns: number;
  parts: readonly MatrixPart[];
}

/**
 * Tensors as one matrix, one below the other: the last extent is the columns, all others together the rows; a vector is one row.
 * @throws if their columns differ
 */
export function matrixOf(...tensors: readonly Tensor[]): Matrix {
  const columns = tensors[0].shape.at(-1) ?? 1;
  const parts = tensors.map((tensor): MatrixPart => {
    if ((tensor.shape.at(-1) ?? 1) !== columns) {
      throw new Error(`${tensor.name} [${tensor.shape}] does not continue rows of ${columns}`);
    }
    return { tensor, from: 0, rows: tensor.size / columns };
  });
  return { rows: parts.reduce((sum, { rows }) => sum + rows, 0), columns, parts };
}

/** Rows `first` to `first + count` of a matrix. */
export function rowsOf({ columns, parts }: Matrix, first: number, count: number): Matrix {
  const some: MatrixPart[] = [];
  let start = 0;
  for (const { tensor, from, rows } of parts) {
    const begin = Math.max(first, start), end = Math.min(first + count, start + rows);
    if (begin < end) some.push({ tensor, from: from + (begin - start) * columns, rows: end - begin });
    start += rows;
  }
  return { rows: some.reduce((sum, { rows }) => sum + rows, 0), columns, parts: some };
}
