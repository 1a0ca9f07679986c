/** Tensors by the names under which they are published, which the address may give in place of ours. */
import type { Rect, TensorEntry } from "../../inspect/types.ts";

/**
 * Our name for a published one, and the part of our tensor that it is, where it is not all of it.
 * @param tensor as addresses have it: `weights/model.layers.0.self_attn.k_proj.weight`
 */
export function findPublished(
  entries: readonly TensorEntry[],
  tensor: string,
): { tensor: string; rect?: Rect } | null {
  const [group, name] = [tensor.slice(0, tensor.indexOf("/") + 1), tensor.slice(tensor.indexOf("/") + 1)];
  for (const { id, shape, rows, columns, published } of entries) {
    const part = published.find((one) => one.name === name);
    const own = id.slice(id.lastIndexOf("#") + 1);
    if (!part || !own.startsWith(group)) continue;
    if (published.length === 1) return { tensor: own };
    const [from, to] = [part.row, part.row + part.rows];
    // Elements of a vector lie side by side.
    const rect = shape.length === 1
      ? { row0: 0, row1: rows, column0: from, column1: to }
      : { row0: from, row1: to, column0: 0, column1: columns };
    return { tensor: own, rect };
  }
  return null;
}
