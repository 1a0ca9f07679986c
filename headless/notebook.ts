/**
 * `deno task notebook run|verify|check|lock|export FILE…`: runs notebooks without a browser, holds them against what they have stored,
 * looks for what cannot run, locks what they import, and writes them in other forms. Cells run in a process without permissions: see notebook_kernels.ts.
 */
import { DamagedFileError, FileAccessError, type Files } from "../lab/bytes.ts";
import { boolean, choice, integer, text } from "../lab/config_fields.ts";
import { type Grant, grantFor, mayImportFrom, strangersGrant } from "../lab/notebook/grant.ts";
import { notebookHtml } from "../lab/notebook/html.ts";
import { Imports, type ModuleSource } from "../lab/notebook/import_graph.ts";
import { lockNotebook } from "../lab/notebook/import_lock.ts";
import { hostsOf } from "../lab/notebook/import_specifiers.ts";
import { type Notebook, parseNotebook, serialiseNotebook } from "../lab/notebook/ipynb.ts";
import type { Lab } from "../lab/notebook/lab_object.ts";
import { toMarkdown } from "../lab/notebook/markdown_export.ts";
import { toPercent } from "../lab/notebook/percent.ts";
import { type NotebookRun, runNotebook, type Started } from "../lab/notebook/run.ts";
import { checkNotebook } from "../lab/notebook/static_check.ts";
import { Workbench } from "../lab/workbench.ts";
import { type GpuChoice, openGpu } from "./devices.ts";
import { diskWorld } from "./disk_world.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";
import { hubSettings } from "./hub_settings.ts";
import { startWorkerKernel, usualMemory } from "./notebook_kernels.ts";
import { lockLines } from "./notebook_lock.ts";
import { diskModules } from "./notebook_modules.ts";
import { cellLine, findingLine, hasBrokenPromise, summaryLines, verdictLine } from "./notebook_report.ts";
import { standardOutput, type Terminal, terminalProgress } from "./progress.ts";
import { versions } from "./versions.ts";

const verbs = ["run", "verify", "check", "lock", "export"] as const;

const usage = {
  task: "notebook",
  about:
    "runs notebooks, verifies what they have stored, checks them without running, locks what they import, or exports them.",
  rest: `${verbs.join("|")} FILE.ipynb…`,
  own: {
    out: text("", {
      doc: "Where run or export writes; one notebook at a time",
      placeholder: "FILE",
      mayBeEmpty: true,
    }),
    "in-place": boolean(false, { doc: "run: put the new outputs and proofs into the notebook itself" }),
    to: choice(["html", "ts", "md"], "html", {
      doc: "export: a page to read, TypeScript with cells, or Markdown",
    }),
    outputs: boolean(false, { doc: "run: print what the cells put out" }),
    "keep-going": boolean(false, { doc: "Go on after a cell that failed" }),
    timeout: integer(600, { doc: "Longest that a cell may take", unit: "s", min: 1, max: 86_400 }),
    memory: integer(usualMemory, {
      doc: "Most memory that a notebook's cells may take",
      unit: "MB",
      min: 256,
      max: 1 << 20,
    }),
    update: text("", {
      doc: "lock: what to lock anew, though it is locked; all for every import",
      placeholder: "SPECIFIER",
      mayBeEmpty: true,
    }),
    trust: boolean(false, {
      doc:
        "Grant what the notebook declares that it needs: other models, hosts of the network and of its import lock",
    }),
    gpuSeconds: integer(1200, {
      doc: "Longest that a notebook may use the GPU",
      unit: "s",
      min: 0,
      max: 604_800,
    }),
    models: text("", {
      doc: "Folder that models are looked for in, by place",
      placeholder: "FOLDER",
      mayBeEmpty: true,
    }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "Whose WebGPU: Dawn's or Deno's own" }),
  },
  examples: [
    ["deno task notebook run tour.ipynb --outputs", "every cell, in order, from a clean start"],
    ["deno task notebook run mine.ipynb --in-place", "the same, and its outputs kept with their proofs"],
    ["deno task notebook verify *.ipynb", "whether the stored outputs come out again, cell by cell"],
    [
      "deno task notebook lock mine.ipynb",
      "fetch what its cells import (npm:d3-array@3.2.4, https://…), and keep the digests of all modules in it",
    ],
    ["deno task notebook export mine.ipynb --to html --out mine.html", "a page to read"],
  ],
} as const;

/** What the task touches of the world. */
export interface World {
  files: Files;
  terminal: Terminal;
  /** Where modules that notebooks import come from. */
  modules: ModuleSource;
  openGpu: (choice: GpuChoice) => ReturnType<typeof openGpu>;
  /** Aborted by Ctrl-C. */
  signal?: AbortSignal;
}

/** Something is wrong with the command line rather than with a notebook. */
export class UsageError extends RangeError {}

type Verb = typeof verbs[number];
type Own = ReturnType<typeof readFlags>["own"];

/** Runs the task. @returns the exit status: 0 if all is well, 1 if not. @throws UsageError, or with one sentence what cannot be read */
export async function notebookTask(args: readonly string[], world: World): Promise<number> {
  const { own, help, verb, paths } = readFlags(args);
  const say = (line: string) => world.terminal.write(line + "\n");
  if (help) {
    say(helpText(usage));
    return 0;
  }
  let well = true;
  const task = tasks[verb];
  const bench = new Workbench(
    diskWorld(() => world.openGpu(own.gpu), { files: world.files, models: own.models }),
  );
  const labs: Lab[] = [];
  try {
    for (const path of paths) {
      if (world.signal?.aborted) break;
      if (paths.length > 1) say(path);
      try {
        const notebook = parseNotebook(path, await world.files.read(path));
        well = await task({ path, notebook, own, world, bench, labs, say }) && well;
      } catch (error) {
        // One bad file is no reason to leave the others out.
        if (paths.length === 1 || !(error instanceof DamagedFileError || error instanceof FileAccessError)) {
          throw error;
        }
        say(`error: ${error.message}`);
        well = false;
      }
    }
  } finally {
    // A device that is caught in a notebook's endless loop would not come back from being destroyed.
    if (await within(2000, Promise.all(labs.map((lab) => lab.settled())))) await bench.destroy();
    else say("The device is still at work for a cell that was stopped; it is left behind.");
  }
  return well ? 0 : 1;
}

/** Whether it is done in so many milliseconds. */
async function within(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  let timer;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), milliseconds));
  const inTime = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

function readFlags(args: readonly string[]) {
  try {
    const { own, given, help, rest } = parseFlags(args, usage);
    const [verb, ...paths] = rest as [Verb, ...string[]];
    if (!help) {
      const task = "deno task notebook";
      if (!verbs.includes(verb)) {
        throw new RangeError(
          `${task} ${verb === undefined ? "needs" : `knows no "${verb}"; it takes`} ${
            verbs.join(", ")
          }; ${task} --help tells more.`,
        );
      }
      if (paths.length === 0) throw new RangeError(`Name a notebook: ${task} ${verb} FILE.ipynb.`);
      if (own.out !== "" && paths.length > 1) throw new RangeError("--out takes one notebook at a time.");
      if (own.out !== "" && own["in-place"]) throw new RangeError("Give --out or --in-place, not both.");
      const only: [string, Verb[]][] = [["in-place", ["run"]], ["outputs", ["run"]], ["to", ["export"]], [
        "out",
        ["run", "export"],
      ], ["update", ["lock"]]];
      for (const [flag, of] of only) {
        if (given.has(flag) && !of.includes(verb)) {
          throw new RangeError(`--${flag} is for ${of.join(" and ")}, not for ${verb}.`);
        }
      }
    }
    return { own, help, verb, paths };
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
}

interface Given {
  path: string;
  notebook: Notebook;
  own: Own;
  world: World;
  bench: Workbench;
  /** Hosts that were started. */
  labs: Lab[];
  say: (line: string) => void;
}

/** What each verb does with one notebook. @returns whether all is well */
const tasks: Record<Verb, (given: Given) => Promise<boolean>> = {
  async run(given) {
    const { path, own, world, say } = given;
    const ran = await runIt(given);
    for (const line of summaryLines(ran)) say(line);
    const target = own["in-place"] ? path : own.out;
    const stopped = world.signal?.aborted ?? false;
    if (stopped) say("Stopped; nothing was written.");
    else if (target !== "") {
      await world.files.writeAtomic(target, new TextEncoder().encode(serialiseNotebook(ran.notebook)));
      say(`Written: ${target}`);
    }
    return ran.ok && !stopped;
  },

  async verify(given) {
    const { notebook, say, world } = given;
    const ran = await runIt(given);
    say("");
    const columns = world.terminal.columns() ?? 100;
    for (const verdict of ran.certificate.cells) say(verdictLine(verdict, columns, world.terminal.colour));
    const unmet = ran.cells.flatMap(({ position, unmet }) =>
      unmet.map((words) => `cell ${position}: ${words}`)
    );
    for (const line of unmet) say(line);
    const broken = ran.certificate.certified ? hasBrokenPromise(notebook, ran) : undefined;
    say(broken ?? ran.certificate.says);
    return ran.certificate.certified && unmet.length === 0 && broken === undefined;
  },

  async check({ notebook, say }) {
    const findings = await checkNotebook(notebook);
    for (const finding of findings) say(findingLine(finding));
    const errors = findings.filter(({ kind }) => kind !== "note").length;
    say(errors === 0 ? "Nothing is wrong that can be seen without running it." : `${errors} to mend.`);
    return errors === 0;
  },

  async lock({ path, notebook, own, world, say }) {
    // Whoever locks a notebook's imports asks for them.
    const imports = new Imports(world.modules, { mayFetch: () => true });
    const locking = await lockNotebook(notebook, imports, own.update || undefined);
    for (const line of lockLines(locking)) say(line);
    const before = serialiseNotebook(notebook), after = serialiseNotebook(locking.notebook);
    if (after === before) say(`Nothing was changed: ${path}`);
    else {
      await world.files.writeAtomic(path, new TextEncoder().encode(after));
      say(`Written: ${path}`);
    }
    return locking.failures.length === 0;
  },

  async export({ path, notebook, own, world, say }) {
    const title = path.replace(/^.*[\\/]/, "").replace(/\.ipynb$/, "");
    const written = {
      html: () => String(notebookHtml(notebook, title)),
      ts: () => toPercent(notebook),
      md: () => toMarkdown(notebook),
    }[own.to]();
    const target = own.out || `${path.replace(/\.ipynb$/, "")}.${own.to}`;
    await world.files.writeAtomic(target, new TextEncoder().encode(written));
    say(`Written: ${target}`);
    return true;
  },
};

/** Runs a notebook from clean, a line a cell. */
async function runIt({ path, notebook, own, world, bench, labs, say }: Given): Promise<NotebookRun> {
  const { needs, seed, imports } = notebook.metadata.lab;
  const base: Grant = { ...strangersGrant, gpuSeconds: own.gpuSeconds, deviceBytes: 8 * 2 ** 30 };
  const grant: Grant = own.trust ? { ...grantFor(needs, base), imports: "any" } : base;
  const declared = needs.filter((need) => /^(models$|model:|network:)/.test(need));
  const hosts = hostsOf(imports).filter((host) => !mayImportFrom(grant, host)).map((host) =>
    `modules of ${host}`
  );
  if (declared.length + hosts.length > 0 && !own.trust) {
    say(
      `${path} asks for ${
        [...declared, ...hosts].join(", ")
      }, which it does not get; --trust grants what it asks for.`,
    );
  }
  const progress = terminalProgress(world.terminal);
  const steps = notebook.cells.filter(({ cell_type }) => cell_type === "code").length;
  const stage = progress.stage("notebook", { steps, unit: "cells" });
  const facts = await versions();
  const start = async (): Promise<Started> => {
    const started = await startWorkerKernel(bench, { seed, grant, versions: facts, memory: own.memory });
    labs.push(started.lab);
    return started;
  };
  const columns = world.terminal.columns() ?? 100;
  const ran = await runNotebook(notebook, start, {
    timeout: own.timeout * 1000,
    keepGoing: own["keep-going"],
    imports: new Imports(world.modules, { mayFetch: (host) => mayImportFrom(grant, host) }),
    signal: world.signal,
    onCell: (_, position) => {
      stage.step(position - 1);
      return (event) => {
        if (!("progress" in event)) return;
        const { done, total, note } = event.progress;
        stage.step(position - 1, { cell: position, of: `${done}/${total}${note && ` ${note}`}` });
      };
    },
    onEnd: (cell) => {
      const { source } = notebook.cells.find(({ id }) => id === cell.id)!;
      for (
        const line of cellLine(cell, source, { columns, colour: world.terminal.colour, outputs: own.outputs })
      ) {
        stage.note(line);
      }
    },
  });
  stage.done(ran.cells.some(({ status }) => status === "skipped") ? "stopped before its end" : undefined);
  return ran;
}

if (import.meta.main) {
  const abort = new AbortController();
  Deno.addSignalListener("SIGINT", () => {
    // A second one does not wait for anything.
    if (abort.signal.aborted) Deno.exit(130);
    abort.abort();
  });
  try {
    const files = diskFiles();
    const { assets } = await hubSettings(Deno.env.get);
    const modules = diskModules(files, assets);
    const world = { files, terminal: standardOutput(), modules, openGpu, signal: abort.signal };
    const status = await notebookTask(Deno.args, world);
    Deno.exit(abort.signal.aborted ? 130 : status);
  } catch (error) {
    if (!(error instanceof UsageError)) failWith(error);
    console.error(`error: ${error.message}`);
    Deno.exit(2);
  }
}
