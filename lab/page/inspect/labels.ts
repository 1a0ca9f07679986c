/** What rows and columns are called: tokens by their text, all others by number. */
import type { AxisMeaning, TensorEntry, TokenLabel } from "../../inspect/types.ts";

export interface AxisLabels {
  /** The word before a number: "dim 417". */
  kind: string;
  /** Short enough for the edge of a map; empty where the number says all. */
  short(index: number): string;
  /** As it is told of: `“ the” = 262`, `dim 417`. */
  long(index: number): string;
  /** Indices whose text holds what is looked for, best first; a number finds itself. */
  find(text: string): number[];
}

/** A token's text on one line, with what is invisible made visible. */
export function visible(text: string): string {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
}

const numberIn = (text: string, count: number): number[] => {
  const index = /^\s*\d+\s*$/.test(text) ? Number(text) : -1;
  return index >= 0 && index < count ? [index] : [];
};

export function numbered(kind: string, count: number): AxisLabels {
  return {
    kind,
    short: () => "",
    long: (index) => `${kind} ${index}`,
    find: (text) => numberIn(text, count),
  };
}

/** Rows that stand for tokens: `texts[id]`. */
export function vocabularyLabels(texts: readonly string[], count: number): AxisLabels {
  return {
    kind: "token",
    short: (id) => visible(texts[id] ?? ""),
    long: (id) => id < texts.length ? `“${visible(texts[id])}” = ${id}` : `id ${id}`,
    find: (text) => [...numberIn(text, count), ...found(texts, text)],
  };
}

/** Rows that stand for the tokens of a text. */
export function positionLabels(tokens: readonly TokenLabel[], count: number): AxisLabels {
  const texts = tokens.map(({ text }) => text);
  return {
    kind: "position",
    short: (position) => visible(texts[position] ?? ""),
    long: (position) =>
      position < texts.length ? `“${visible(texts[position])}” at ${position}` : `position ${position}`,
    find: (text) => [...numberIn(text, count), ...found(texts, text)],
  };
}

const mostFound = 50;

/** Whole matches first, then beginnings, then the rest; spaces at the ends do not count, unless they are looked for. */
function found(texts: readonly string[], text: string): number[] {
  const sought = text.replaceAll("·", " ").toLowerCase();
  if (sought === "") return [];
  const ranked: [rank: number, index: number][] = [];
  for (let index = 0; index < texts.length; index++) {
    const candidate = texts[index].toLowerCase();
    if (!candidate.includes(sought)) continue;
    const bare = candidate.trim(), aim = sought.trim();
    ranked.push([bare === aim ? 0 : bare.startsWith(aim) ? 1 : 2, index]);
  }
  return ranked.sort(([a, i], [b, j]) => a - b || i - j).slice(0, mostFound).map(([, index]) => index);
}

function labelsOf(
  axis: "row" | "column",
  meaning: AxisMeaning,
  count: number,
  vocabulary: readonly string[],
  tokens: readonly TokenLabel[],
): AxisLabels {
  if (meaning === "tokens" && vocabulary.length > 0) return vocabularyLabels(vocabulary, count);
  if (meaning === "positions" && tokens.length > 0) return positionLabels(tokens, count);
  return numbered({ tokens: "id", positions: "position", channels: "dim", numbers: axis }[meaning], count);
}

export function labelsOfEntry(
  { rows, columns, rowMeaning, columnMeaning }: TensorEntry,
  vocabulary: readonly string[],
  tokens: readonly TokenLabel[],
): { rows: AxisLabels; columns: AxisLabels } {
  return {
    rows: labelsOf("row", rowMeaning, rows, vocabulary, tokens),
    columns: labelsOf("column", columnMeaning, columns, vocabulary, tokens),
  };
}
