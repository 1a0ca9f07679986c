/** What tensors there are of a model, by our names and by the published ones, each as the matrix it is looked at as. */
import { type Matrix, matrixOf, rowsOf } from "../../kernels/matrix.ts";
import type { Tensor } from "../../kernels/tensor.ts";
import { places, type Qwen2 } from "../qwen2.ts";
import type { AxisMeaning, TensorEntry, TensorRole } from "./types.ts";

/** A tensor that can be looked at. */
export interface Inspectable {
  entry: TensorEntry;
  matrix: Matrix;
}

/** There is no such tensor. The message says what there is. */
export class NoSuchTensor extends Error {
  override name = "NoSuchTensor";
}

/** Joins the row ranges of embedding and head, which are one matrix each: `embedding.0`, `embedding.37376` … */
export function wholeName(parameter: string): string {
  return parameter.replace(/^(embedding|head)\.\d+$/, "$1");
}

/** The parameters of a model under their whole names, each in one or more pieces, in order. */
export function wholeParameters(model: Qwen2): Map<string, Tensor[]> {
  const whole = new Map<string, Tensor[]>();
  for (const [name, tensor] of model.parameters.tensors) {
    const pieces = whole.get(wholeName(name));
    if (pieces) pieces.push(tensor);
    else whole.set(wholeName(name), [tensor]);
  }
  return whole;
}

/**
 * Every parameter of a model, or what there is of it in another role.
 * @param prefix of the ids: `base#weights/`
 * @param pieces the tensors of that role, for a parameter of so many pieces; undefined where there are none
 */
export function parameterEntries(
  model: Qwen2,
  prefix: string,
  role: TensorRole,
  pieces: (name: string, weights: readonly Tensor[]) => readonly Tensor[] | undefined = (_, weights) =>
    weights,
): Inspectable[] {
  const published = publishedNames(model);
  return [...wholeParameters(model)].flatMap(([name, weights]) => {
    const tensors = pieces(name, weights);
    if (!tensors) return [];
    const matrix = matrixOf(...tensors);
    const table = name === "embedding" || name === "head";
    const shape = tensors.length > 1 ? [matrix.rows, matrix.columns] : [...tensors[0].shape];
    const entry = entryOf(prefix, name, role, shape, matrix, table ? "tokens" : "numbers", "channels");
    return [{ entry: { ...entry, published: published.get(name) ?? [] }, matrix }];
  });
}

export function entryOf(
  prefix: string,
  name: string,
  role: TensorRole,
  shape: number[],
  { rows, columns }: Matrix,
  rowMeaning: AxisMeaning,
  columnMeaning: AxisMeaning,
): TensorEntry {
  const layer = /(?:^|\.)(?:layers|cache)\.(\d+)\./.exec(name)?.[1];
  return {
    id: prefix + name,
    name,
    published: [],
    role,
    shape,
    rows,
    columns,
    dtype: "f32",
    bytes: 4 * rows * columns,
    layer: layer === undefined ? undefined : Number(layer),
    rowMeaning,
    columnMeaning,
  };
}

/** The Hugging Face tensors that each of our parameters holds, by whole name. Rows of a vector are its elements. */
function publishedNames(model: Qwen2): Map<string, TensorEntry["published"]> {
  const found = new Map<string, TensorEntry["published"]>();
  for (const { name, parts } of places(model)) {
    const whole = wholeName(parts[0].parameter);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    found.set(whole, [...found.get(whole) ?? [], { name, row: parts[0].row, rows }]);
  }
  return found;
}

/**
 * Finds a tensor by our name or a published one; the latter may be rows of one of ours, or elements of a vector.
 * @throws NoSuchTensor naming the nearest there are
 */
export function findTensor(all: readonly Inspectable[], prefix: string, name: string): Inspectable {
  const own = all.find(({ entry }) => entry.name === name);
  if (own) return own;
  for (const { entry, matrix } of all) {
    const part = entry.published.find((one) => one.name === name);
    if (!part) continue;
    const vector = entry.shape.length === 1;
    const some = vector ? elementsOf(matrix, part.row, part.rows) : rowsOf(matrix, part.row, part.rows);
    const shape = vector ? [part.rows] : [part.rows, matrix.columns];
    const { rowMeaning, columnMeaning, layer } = entry;
    const found = entryOf(prefix, name, entry.role, shape, some, rowMeaning, columnMeaning);
    return { entry: { ...found, layer, published: [{ name, row: 0, rows: part.rows }] }, matrix: some };
  }
  throw new NoSuchTensor(`There is no tensor "${name}" in ${prefix.slice(0, -1)}; there are ${listed(all)}.`);
}

function elementsOf({ parts }: Matrix, from: number, count: number): Matrix {
  return {
    rows: 1,
    columns: count,
    parts: [{ tensor: parts[0].tensor, from: parts[0].from + from, rows: 1 }],
  };
}

function listed(all: readonly Inspectable[]): string {
  const names = all.map(({ entry }) => entry.name);
  return names.length > 8
    ? `${names.slice(0, 8).join(", ")} and ${names.length - 8} more`
    : names.join(", ") || "none";
}
