/** Two texts word by word. */
import { diffWordsWithSpace } from "diff";

/** A stretch of text: in both, only in the first, only in the second. */
export interface Stretch {
  text: string;
  change: "same" | "gone" | "new";
}

/** What turns `before` into `after`, in reading order. */
export function wordDiff(before: string, after: string): Stretch[] {
  return diffWordsWithSpace(before, after).map(({ value, added, removed }) => ({
    text: value,
    change: added ? "new" : removed ? "gone" : "same",
  }));
}

/** Share of the words of both texts that are in both, 0 to 1: how alike they are. */
export function likeness(before: string, after: string): number {
  const count = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
  const all = count(before) + count(after);
  if (all === 0) return 1;
  const same = wordDiff(before, after).filter(({ change }) => change === "same");
  return 2 * same.reduce((sum, { text }) => sum + count(text), 0) / all;
}
