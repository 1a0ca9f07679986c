/** How a notebook's run is told in a terminal: a line a cell, aligned, and what each cell put out, if that is wanted. */
import { duration, fitColumns } from "../lab/format.ts";
import type { CellVerdict } from "../lab/notebook/certify.ts";
import { whatChanged } from "../lab/notebook/dependencies.ts";
import { isCode, type Notebook, type Output } from "../lab/notebook/ipynb.ts";
import type { NotebookRun, RanCell } from "../lab/notebook/run.ts";
import type { Finding } from "../lab/notebook/static_check.ts";

const paint = (colour: boolean, code: string, text: string) => colour ? `\x1b[${code}m${text}\x1b[0m` : text;

/** "✓  3    0.4 s  gpu 0.3 s  const model = await lab.model("sft");" and, below it, errors and what was not met. */
export function cellLine(
  { position, status, milliseconds, gpuMilliseconds, outputs, unmet }: RanCell,
  source: string,
  { columns, outputs: shown }: { columns: number; colour: boolean; outputs: boolean },
): string[] {
  const mark = status === "ok" ? (unmet.length > 0 ? "!" : "✓") : status === "failed" ? "✗" : "–";
  const time = status === "skipped" ? "not run" : duration(milliseconds / 1000);
  const gpu = gpuMilliseconds > 0 ? `gpu ${duration(gpuMilliseconds / 1000)}` : "";
  const first = source.split("\n").find((line) => line.trim() !== "" && !/^import .*"precis"/.test(line)) ??
    "";
  const head = `${mark} ${String(position).padStart(3)}  ${time.padStart(7)}  ${gpu.padEnd(9)}  `;
  const lines = [fitColumns(head + first.trim(), columns)];
  const put = shown ? outputs : outputs.filter(({ output_type }) => output_type === "error");
  for (const output of put) lines.push(...wordsOf(output).split("\n").map((line) => `│ ${line}`));
  if (!shown) { for (const words of unmet) lines.push(`│ ${words}`); }
  return lines;
}

/** What a terminal can show of an output. */
function wordsOf(output: Output): string {
  if (output.output_type === "stream") return output.text.replace(/\n$/, "");
  if (output.output_type === "error") return output.traceback.join("\n");
  const plain = output.data["text/plain"];
  return typeof plain === "string" ? plain : Object.keys(output.data).join(", ");
}

export function summaryLines({ cells, models }: NotebookRun): string[] {
  const count = (status: RanCell["status"]) => cells.filter((cell) => cell.status === status).length;
  const unmet = cells.reduce((sum, cell) => sum + cell.unmet.length, 0);
  const parts = [
    `${count("ok")} of ${cells.length} code cells ran`,
    ...(count("failed") > 0 ? [`${count("failed")} failed`] : []),
    ...(count("skipped") > 0 ? [`${count("skipped")} were left out`] : []),
    ...(unmet > 0 ? [`${unmet} ${unmet === 1 ? "expectation was" : "expectations were"} not met`] : []),
  ];
  const opened = Object.entries(models).map(([place, digest]) => `${place} ${digest.slice(0, 12)}`);
  return [`${parts.join(", ")}.`, ...(opened.length > 0 ? [`Models: ${opened.join(", ")}`] : [])];
}

const colours = { verified: "32", differs: "31", failed: "31", unproven: "33" };

/** "verified   cell 3 is exactly as stored." */
export function verdictLine(
  { verdict, says, values }: CellVerdict,
  columns: number,
  colour: boolean,
): string {
  const proofs = values.length > 0 ? ` (${values.length} ${values.length === 1 ? "proof" : "proofs"})` : "";
  const text = fitColumns(`${says.replace(/\.$/, "")}${proofs}`, Math.max(20, columns - 10));
  return `${paint(colour, colours[verdict], verdict.padEnd(8))}  ${text}`;
}

export function findingLine({ position, line, kind, says }: Finding): string {
  const where = `cell ${position}${line === undefined ? "" : `, line ${line}`}`;
  return `${kind.padEnd(5)}  ${where}: ${says}.`;
}

/**
 * Why a notebook is not what it says although no output contradicts it: outputs from before a change, or none where there should be some.
 */
export function hasBrokenPromise(stored: Notebook, ran: NotebookRun): string | undefined {
  const now = new Map(ran.notebook.cells.filter(isCode).map((cell) => [cell.id, cell]));
  for (const [i, cell] of stored.cells.filter(isCode).entries()) {
    const after = now.get(cell.id)!;
    const [before, inputs] = [cell.metadata.lab?.inputs, after.metadata.lab?.inputs];
    const changed = before && inputs ? whatChanged(before, inputs) : [];
    if (changed.length > 0) {
      return `Not verified: cell ${i + 1} holds outputs from before a change (${changed.join(", ")}).`;
    }
    if (cell.outputs.length === 0 && after.outputs.length > 0) {
      return `Not verified: cell ${i + 1} has no stored outputs; run the notebook with --in-place first.`;
    }
  }
  return undefined;
}
