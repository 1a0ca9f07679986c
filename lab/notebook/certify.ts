/**
 * Whether a notebook's stored outputs are what a clean run of all its cells gives, and the state that each cell is in.
 *
 *     certificate(notebook: Notebook, run: CleanRun): Certificate
 *     cellState(cell: CodeCell, now: InputRecord, live: LiveCell): { state: CellState, why: string[] }
 *     isCleanRun(order: string[], notebook: Notebook): boolean
 */
import { canonicalJson } from "../bytes.ts";
import { whatChanged } from "./dependencies.ts";
import { compareValues, gapInWords, type Verdict } from "./digests.ts";
import { type CodeCell, isCode, type Notebook, type Output } from "./ipynb.ts";
import type { InputRecord, ValueRecord } from "./records.ts";

/** What one cell gave in a run. */
export interface CellRun {
  id: string;
  /** "skipped": a cell before it failed, or the run was stopped. */
  status: "ok" | "failed" | "skipped";
  /** The source that ran. */
  source: string;
  inputs: InputRecord;
  values: readonly ValueRecord[];
  outputs: readonly Output[];
}

/** A run of a notebook from a clean state, cell by cell, in the order in which they ran. */
export interface CleanRun {
  cells: readonly CellRun[];
}

/** What a run says of one cell. */
export interface CellVerdict {
  id: string;
  /** From 1, among the code cells. */
  position: number;
  verdict: "verified" | "differs" | "unproven" | "failed";
  /** Of each of its values that was compared. */
  values: { name: string; verdict: Verdict }[];
  /** In one sentence, for whoever reads it. */
  says: string;
}

export interface Certificate {
  /** All code cells as they stand ran in order from clean, none failed, and none differs from what the notebook holds. */
  certified: boolean;
  cells: CellVerdict[];
  /** The first cell that differs or failed. */
  first?: CellVerdict;
  /** In one sentence. */
  says: string;
}

/** Whether these are the notebook's code cells, each once, in order. */
export function isCleanRun(order: readonly string[], { cells }: Notebook): boolean {
  const ids = cells.filter(isCode).map(({ id }) => id);
  return order.length === ids.length && order.every((id, i) => id === ids[i]);
}

/** Holds a notebook with its stored outputs and proofs against a clean run of it. */
export function certificate(notebook: Notebook, run: CleanRun): Certificate {
  const runs = new Map(run.cells.map((one) => [one.id, one]));
  const cells = notebook.cells.filter(isCode).map((cell, i) => verdictOf(cell, i + 1, runs.get(cell.id)));
  const count = (verdict: CellVerdict["verdict"]) => cells.filter((one) => one.verdict === verdict).length;
  const first = cells.find(({ verdict }) => verdict === "differs" || verdict === "failed");
  const edited = cells.find(({ id }, i) => {
    const one = runs.get(id);
    return one !== undefined && notebook.cells.filter(isCode)[i].source !== one.source;
  });
  const inOrder = isCleanRun(run.cells.map(({ id }) => id), notebook);
  const complete = run.cells.every(({ status }) => status === "ok");
  const certified = inOrder && complete && !edited && !first;
  let says;
  if (first) says = `Not certified: ${first.says}`;
  else if (edited) says = `Not certified: cell ${edited.position} was edited since it ran.`;
  else if (!inOrder) {
    says = "Not certified: its code cells did not all run once, in order, from a clean state.";
  } else if (!complete) says = "Not certified: the run did not reach its end.";
  else {
    const proven = count("verified");
    says =
      `Certified: ${cells.length} code ${
        cells.length === 1 ? "cell" : "cells"
      } ran in order from a clean state, ` +
      `${proven} verified, ${cells.length - proven} with nothing to compare.`;
  }
  return { certified, cells, ...(first && { first }), says };
}

function verdictOf(cell: CodeCell, position: number, run: CellRun | undefined): CellVerdict {
  const { id } = cell;
  const say = (
    verdict: CellVerdict["verdict"],
    what: string,
    values: CellVerdict["values"] = [],
  ): CellVerdict => ({
    id,
    position,
    verdict,
    values,
    says: `cell ${position} ${what}.`,
  });
  if (!run || run.status === "skipped") return say("unproven", "did not run");
  if (run.status === "failed") {
    const error = run.outputs.find(({ output_type }) => output_type === "error");
    const why = error?.output_type === "error"
      ? ` (${error.ename}: ${error.evalue.split("\n")[0].slice(0, 200)})`
      : "";
    return say("failed", `failed${why}`);
  }
  const { inputs, values: stored = [] } = cell.metadata.lab ?? {};
  if (inputs) {
    const changed = whatChanged(inputs, run.inputs);
    // The stored outputs are those of another source, seed or model: whether they come out again says nothing.
    if (changed.length > 0) {
      return say("unproven", `holds outputs from before a change (${changed.join(", ")})`);
    }
  }
  const values = compared(stored, run.values);
  const worst = values.find(({ verdict }) => verdict.verdict === "differs");
  if (worst?.verdict.verdict === "differs") {
    const { why, gap } = worst.verdict;
    return say("differs", `differs in ${worst.name}: ${gap ? `${gapInWords(gap)} (${why})` : why}`, values);
  }
  const unproven = values.find(({ verdict }) => verdict.verdict === "unproven");
  if (unproven?.verdict.verdict === "unproven") {
    return say("unproven", `cannot be compared in ${unproven.name}: ${unproven.verdict.why}`, values);
  }
  if (values.length > 0) {
    const exact = values.every(({ verdict }) => verdict.verdict === "verified" && verdict.exact);
    return say("verified", exact ? "is exactly as stored" : "is as stored within the tolerance", values);
  }
  return comparedOutputs(cell, run, say);
}

/** Values by name; the second of a name with the second. */
function compared(stored: readonly ValueRecord[], found: readonly ValueRecord[]): CellVerdict["values"] {
  const left = [...found];
  const values: CellVerdict["values"] = stored.map((one) => {
    const at = left.findIndex(({ name }) => name === one.name);
    if (at < 0) return { name: one.name, verdict: { verdict: "differs", why: "the run did not make it" } };
    const [other] = left.splice(at, 1);
    return { name: one.name, verdict: compareValues(one, other) };
  });
  // A cell that never kept a proof is not wrong because it makes some now.
  if (stored.length === 0) return values;
  for (const { name } of left) {
    values.push({ name, verdict: { verdict: "differs", why: "the notebook holds no such value" } });
  }
  return values;
}

/** Where no proof was kept, the words of the outputs are all there is. */
function comparedOutputs(
  cell: CodeCell,
  run: CellRun,
  say: (verdict: CellVerdict["verdict"], what: string) => CellVerdict,
): CellVerdict {
  if (cell.execution_count === null && cell.outputs.length === 0) {
    return say("unproven", "has no stored outputs");
  }
  const before = cell.outputs.map(words), now = run.outputs.map(words);
  if (before.length === 0 && now.length === 0) return say("unproven", "puts nothing out");
  const at = before.findIndex((one, i) => one !== now[i]);
  if (at < 0 && before.length === now.length) return say("verified", "puts out what is stored");
  if (at < 0 || now[at] === undefined) {
    return say("differs", `puts out ${now.length} outputs where ${before.length} are stored`);
  }
  const [was, is] = [before[at], now[at]].map((text) => text.split("\n"));
  const line = was.findIndex((one, i) => one !== is[i]);
  const quoted = (text: string | undefined) =>
    text === undefined ? "missing" : JSON.stringify(text.slice(0, 80));
  const place = line < 0 ? was.length : line;
  return say(
    "differs",
    `differs in output ${at + 1}, line ${place + 1}: ${quoted(was[place])} was stored and it is ${
      quoted(is[place])
    }`,
  );
}

/** What of an output two runs can share: its plain text where it has one. */
function words(output: Output): string {
  switch (output.output_type) {
    case "stream":
      return output.text;
    case "error":
      return `${output.ename}: ${output.evalue}`;
    default: {
      const plain = output.data["text/plain"];
      return typeof plain === "string" ? plain : canonicalJson(output.data);
    }
  }
}

/** What the gutter shows. */
export type CellState = "never run" | "running" | "fresh" | "stale" | "failed" | "verified" | "differs";

/** What is known of a cell in a session, beside what the file holds. */
export interface LiveCell {
  running?: boolean;
  /** The outputs that it shows are of a run in this session, of these inputs. */
  ran?: InputRecord;
  /** What the last clean run said of it. */
  verdict?: CellVerdict["verdict"];
}

/**
 * The state of a code cell.
 * @param now its inputs as they are now
 * @returns with the reasons where it is stale
 */
export function cellState(cell: CodeCell, now: InputRecord, { running, ran, verdict }: LiveCell = {}): {
  state: CellState;
  why: string[];
} {
  const is = (state: CellState, why: string[] = []) => ({ state, why });
  if (running) return is("running");
  const from = ran ?? cell.metadata.lab?.inputs;
  if (!from) {
    if (cell.outputs.length === 0 && cell.execution_count === null) return is("never run");
    return is("stale", ["its outputs do not say what they came from"]);
  }
  const changed = whatChanged(from, now);
  if (changed.length > 0) return is("stale", changed);
  if (verdict === "failed" || cell.outputs.some(({ output_type }) => output_type === "error")) {
    return is("failed");
  }
  if (verdict === "verified" || verdict === "differs") return is(verdict);
  return is("fresh");
}
