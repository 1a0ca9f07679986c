/** `deno task check`: format, lint, types and the direction of imports, everything in one go and one verdict at the end. */
import { violations } from "./architecture.ts";
import { failWith } from "./exit.ts";
import { helpText, parseFlags, type TaskUsage } from "./flags.ts";

const own = {
  only: {
    kind: "choice",
    choices: ["all", "format", "lint", "types", "imports"],
    default: "all",
    doc: "One of the four checks alone",
  },
} as const;

const usage: TaskUsage<typeof own> = {
  task: "check",
  about: "looks at every source without running it: format, lint, types, and which folder imports which.",
  own,
  examples: [["deno task check", "all four"], ["deno task check --only types", "one of them"]],
};

interface Check {
  name: "format" | "lint" | "types" | "imports";
  /** What to type to mend what it finds, or to see more. */
  remedy: string;
  /** What is wrong; an empty text for nothing. */
  run: (root: string) => Promise<string>;
}

const checks: readonly Check[] = [
  {
    name: "format",
    remedy: "deno fmt",
    run: async (root) => unformatted(await deno(root, "fmt", "--check")),
  },
  { name: "lint", remedy: "deno lint --fix mends some", run: (root) => deno(root, "lint") },
  {
    name: "types",
    remedy: "deno check",
    run: (root) => deno(root, "check", "--quiet", "kernels", "lab", "headless", "tests", "vite.config.ts"),
  },
  {
    name: "imports",
    remedy: "the rules stand in headless/architecture.ts",
    run: async (root) => (await violations(root)).join("\n"),
  },
];

/** Output of a Deno command that failed, or nothing. */
async function deno(root: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: root }).output();
  if (success) return "";
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim()).filter(Boolean);
  return said.join("\n") || `deno ${args[0]} failed without a word`;
}

/** Of what "deno fmt --check" says, the names of the files: what it would change in them is of no use, as it can do so itself. */
function unformatted(said: string): string {
  // deno-lint-ignore no-control-regex
  const names = [...said.replace(/\x1b\[[\d;]*m/g, "").matchAll(/^from (.+):$/gm)].map(([, name]) => name);
  return names.length > 0 ? names.join("\n") : said;
}

/** Runs the checks, prints what each found and a verdict. Returns whether all is well. */
async function main(args: string[]): Promise<boolean> {
  const flags = parseFlags(args, usage);
  if (flags.help) {
    console.log(helpText(usage, { colour: Deno.stdout.isTerminal() }));
    return true;
  }
  const root = decodeURIComponent(new URL("..", import.meta.url).pathname);
  const chosen = checks.filter(({ name }) => flags.own.only === "all" || flags.own.only === name);
  const failed: string[] = [];
  for (const { name, remedy, run } of chosen) {
    const start = performance.now();
    const wrong = await run(root);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    if (wrong === "") console.log(`ok      ${name.padEnd(8)}${seconds.padStart(6)} s`);
    else {
      failed.push(name);
      console.log(`FAILED  ${name.padEnd(8)}${seconds.padStart(6)} s   (${remedy})\n${wrong}\n`);
    }
  }
  console.log(
    failed.length === 0
      ? `All is well: ${chosen.map(({ name }) => name).join(", ")}.`
      : `Not well: ${failed.join(", ")}; see above.`,
  );
  return failed.length === 0;
}

if (import.meta.main) {
  try {
    if (!await main(Deno.args)) Deno.exitCode = 1;
  } catch (error) {
    failWith(error);
  }
}
