import { assertEquals } from "deno-std/assert/mod.js";
import { type CellRun, cellState, certificate, isCleanRun } from "../../../lab/notebook/certify.ts";
import { analyseCells, dependencies, inputRecords } from "../../../lab/notebook/dependencies.ts";
import { recordValue } from "../../../lab/notebook/digests.ts";
import { type CodeCell, isCode, type Notebook } from "../../../lab/notebook/ipynb.ts";
import { notebookOf } from "./notebooks.ts";

async function recordsOf(notebook: Notebook) {
  const cells = analyseCells(notebook.cells.filter(isCode));
  return await inputRecords(cells, dependencies(cells), notebook.metadata.lab);
}

const tensor = (by = 0) => ({ shape: [4], data: Float32Array.of(1, 2, 3 + by, 4) });
const printed = (text: string) => [{ output_type: "stream" as const, name: "stdout", text }];

/** Three code cells that have run: one prints, one keeps a proof, one only declares. */
async function finished(): Promise<{ notebook: Notebook; run: CellRun[] }> {
  const notebook = notebookOf(["# Title", "const a = 1; console.log(a)", "a + 1", "const b = 2"]);
  const records = await recordsOf(notebook);
  const run: CellRun[] = [];
  const values = [[], [await recordValue("loss", "C", tensor())], []];
  notebook.cells.filter(isCode).forEach((cell, i) => {
    cell.execution_count = 1;
    cell.outputs = i === 0 ? printed("1\n") : [];
    cell.metadata.lab = { inputs: records.get(cell.id)!, ...(values[i].length > 0 && { values: values[i] }) };
    run.push({
      id: cell.id,
      status: "ok",
      source: cell.source,
      inputs: records.get(cell.id)!,
      values: values[i],
      outputs: cell.outputs,
    });
  });
  return { notebook, run };
}

Deno.test("a clean run that gives what is stored certifies", async () => {
  const { notebook, run } = await finished();
  const { certified, cells, says, first } = certificate(notebook, { cells: run });
  assertEquals([certified, first], [true, undefined]);
  assertEquals(cells.map(({ position, verdict, says }) => [position, verdict, says]), [
    [1, "verified", "cell 1 puts out what is stored."],
    [2, "verified", "cell 2 is exactly as stored."],
    [3, "unproven", "cell 3 puts nothing out."],
  ]);
  assertEquals(
    says,
    "Certified: 3 code cells ran in order from a clean state, 2 verified, 1 with nothing to compare.",
  );
});

Deno.test("what differs is named with the first place, and nothing is certified", async () => {
  const { notebook, run } = await finished();
  run[1] = { ...run[1], values: [await recordValue("loss", "C", tensor(1e-6))] };
  assertEquals(
    certificate(notebook, { cells: run }).cells[1].says,
    "cell 2 is as stored within the tolerance.",
  );
  run[1] = { ...run[1], values: [await recordValue("loss", "C", tensor(0.5))] };
  const certificate1 = certificate(notebook, { cells: run });
  assertEquals(
    certificate1.says,
    "Not certified: cell 2 differs in loss: [2] was 3 and is 3.5: 0.5 apart, 0.17 of it, 2097152 ulp (it is beyond the tolerance).",
  );
  assertEquals([certificate1.certified, certificate1.first?.position], [false, 2]);
  run[0] = { ...run[0], outputs: printed("1 and\n2\n") };
  const both = certificate(notebook, { cells: run });
  assertEquals(both.first?.says, 'cell 1 differs in output 1, line 1: "1" was stored and it is "1 and".');
  run[0] = { ...run[0], outputs: [] };
  assertEquals(
    certificate(notebook, { cells: run }).first?.says,
    "cell 1 puts out 0 outputs where 1 are stored.",
  );
  run[1] = { ...run[1], values: [] };
  assertEquals(
    certificate(notebook, { cells: run }).cells[1].says,
    "cell 2 differs in loss: the run did not make it.",
  );
});

Deno.test("a failed, unfinished, unordered or edited run certifies nothing", async () => {
  const { notebook, run } = await finished();
  const error = { output_type: "error" as const, ename: "TypeError", evalue: "no\nmore", traceback: [] };
  const failed = [run[0], { ...run[1], status: "failed" as const, outputs: [error] }, {
    ...run[2],
    status: "skipped" as const,
  }];
  const one = certificate(notebook, { cells: failed });
  assertEquals(one.says, "Not certified: cell 2 failed (TypeError: no).");
  assertEquals(one.cells.map(({ verdict }) => verdict), ["verified", "failed", "unproven"]);
  assertEquals(
    certificate(notebook, { cells: [run[1], run[0], run[2]] }).says,
    "Not certified: its code cells did not all run once, in order, from a clean state.",
  );
  assertEquals(certificate(notebook, { cells: run.slice(0, 2) }).certified, false);
  assertEquals(isCleanRun([...run, run[2]].map(({ id }) => id), notebook), false);
  const stopped = [run[0], run[1], { ...run[2], status: "skipped" as const }];
  assertEquals(
    certificate(notebook, { cells: stopped }).says,
    "Not certified: the run did not reach its end.",
  );
  notebook.cells[2].source = "a + 2";
  assertEquals(certificate(notebook, { cells: run }).says, "Not certified: cell 2 was edited since it ran.");
});

Deno.test("outputs from before a change prove nothing", async () => {
  const { notebook, run } = await finished();
  notebook.metadata.lab.seed = 8;
  const records = await recordsOf(notebook);
  const cells = run.map((one) => ({ ...one, inputs: records.get(one.id)! }));
  const { cells: verdicts, certified } = certificate(notebook, { cells });
  assertEquals(certified, true);
  assertEquals(verdicts[0].says, "cell 1 holds outputs from before a change (the seed was 7 and is 8).");
  assertEquals(verdicts.map(({ verdict }) => verdict), ["unproven", "unproven", "unproven"]);
});

Deno.test("the state of a cell", async () => {
  const { notebook } = await finished();
  const now = await recordsOf(notebook);
  const [first, second] = notebook.cells.filter(isCode);
  const of = (cell: CodeCell, live = {}, records = now) => {
    const { state, why } = cellState(cell, records.get(cell.id)!, live);
    return [state, ...why];
  };
  const bare = notebookOf(["1"]).cells[0] as CodeCell;
  assertEquals(cellState(bare, now.get(first.id)!), { state: "never run", why: [] });
  assertEquals(of(first), ["fresh"]);
  assertEquals(of(first, { running: true }), ["running"]);
  assertEquals(of(first, { verdict: "verified" }), ["verified"]);
  assertEquals(of(first, { verdict: "differs" }), ["differs"]);
  assertEquals(of(first, { verdict: "failed" }), ["failed"]);
  assertEquals(of(first, { verdict: "unproven" }), ["fresh"]);
  first.source = "const a = 3";
  const later = await recordsOf(notebook);
  assertEquals(of(first, { verdict: "verified" }, later), ["stale", "its source was edited"]);
  assertEquals(of(second, {}, later), ["stale", `the cell ${first.id} that it needs has changed`]);
  assertEquals(of(second, { ran: later.get(second.id) }, later), ["fresh"]);
  delete first.metadata.lab;
  assertEquals(of(first, {}, later), ["stale", "its outputs do not say what they came from"]);
  second.outputs = [{ output_type: "error", ename: "E", evalue: "", traceback: [] }];
  assertEquals(of(second), ["failed"]);
});
