import type { TensorEntry } from "../../inspect/types.ts";

/** Whether a tensor's name, ours or the published one, has all the words of what is looked for; `*` stands for anything. */
export function matches(entry: Pick<TensorEntry, "name" | "published" | "role">, sought: string): boolean {
  const names = [entry.name, entry.role, ...entry.published.map(({ name }) => name)];
  return sought.toLowerCase().split(/\s+/).every((word) => {
    const parts = word.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    const expression = new RegExp(parts.join(".*"), "i");
    return names.some((name) => expression.test(name));
  });
}
