/** Names and numbers as the report writes them. */
import { fixed, percent } from "../format.ts";
import type { Rate } from "../winrate.ts";
import { type Author, authorName, type Evaluation, type Match, type Mean } from "./data.ts";
import { type Content, type Html, html } from "./html.ts";

export function judgeName(judge: string): string {
  const names: Record<string, string> = {
    gold: "the gold rule",
    reward: "the reward model",
    second: "a second reward model",
  };
  return names[judge] ?? judge;
}

export function runtimeName(runtime: string): string {
  return runtime === "native"
    ? "Deno's own WebGPU"
    : runtime === "dawn"
    ? "Dawn"
    : runtime === "browser"
    ? "the browser's WebGPU"
    : runtime;
}

export function mean({ mean, lower, upper }: Mean, decimals = 2): Content {
  const half = lower !== undefined && upper !== undefined ? (upper - lower) / 2 : undefined;
  return half === undefined
    ? fixed(mean, decimals)
    : html`${fixed(mean, decimals)} <small>± ${fixed(half, decimals)}</small>`;
}

/** "72–83 %". */
export function interval({ lower, upper }: Rate): string {
  return `${fixed(100 * lower, 0)}–${percent(upper)}`;
}

export function signed(value: number): string {
  return value > 0 ? `+${fixed(value)}` : fixed(value);
}

/** An author's name behind a dot of their colour. */
export function authorTag(author: Match["ours"]): Html {
  return html`<span class="author a-${author.startsWith("best") ? "best" : author}">${
    authorName(author)
  }</span>`;
}

/** The match between two authors by the judge that counts, if there was one. */
export function matchOf(evaluation: Evaluation, ours: Match["ours"], theirs: Author): Match | undefined {
  return evaluation.matches.find((match) => match.ours === ours && match.theirs === theirs);
}
