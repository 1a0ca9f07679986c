/** The console of a cell: what is logged goes to its stdout, warnings and errors to its stderr. */
import { tableBundle } from "./display.ts";
import { consoleText, textOf } from "./text_of.ts";

/** @param write is given whole lines */
export function cellConsole(write: (stream: "stdout" | "stderr", text: string) => void): Console {
  let indent = "";
  const counts = new Map<string, number>(), timers = new Map<string, number>();
  const say = (stream: "stdout" | "stderr", text: string) =>
    write(stream, `${indent}${text.replaceAll("\n", `\n${indent}`)}\n`);
  const out = (...args: unknown[]) => say("stdout", consoleText(args));
  const err = (...args: unknown[]) => say("stderr", consoleText(args));
  const passed = (label: string) =>
    `${(performance.now() - (timers.get(label) ?? performance.now())).toFixed(1)} ms`;
  const console = {
    log: out,
    info: out,
    debug: out,
    warn: err,
    error: err,
    dir: (value: unknown) => out(textOf(value)),
    dirxml: out,
    assert(condition: unknown, ...args: unknown[]) {
      if (!condition) err(...(args.length > 0 ? ["Assertion failed:", ...args] : ["Assertion failed"]));
    },
    trace: (...args: unknown[]) => err("Trace:", ...args),
    table(rows: unknown, columns?: string[]) {
      const list = typeof rows === "object" && rows !== null
        ? Object.entries(rows).map(([index, row]) => ({
          "": index,
          ...(typeof row === "object" && row !== null && !Array.isArray(row) ? row : { value: row }),
        }))
        : null;
      if (list) out(tableBundle(list, columns && ["", ...columns])["text/plain"]);
      else out(rows);
    },
    count(label = "default") {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      out(`${label}: ${counts.get(label)}`);
    },
    countReset: (label = "default") => void counts.delete(label),
    group(...args: unknown[]) {
      if (args.length > 0) out(...args);
      indent += "  ";
    },
    groupEnd: () => indent = indent.slice(2),
    time: (label = "default") => void timers.set(label, performance.now()),
    timeLog: (label = "default", ...args: unknown[]) => out(`${label}: ${passed(label)}`, ...args),
    timeEnd(label = "default") {
      out(`${label}: ${passed(label)}`);
      timers.delete(label);
    },
    clear() {},
  };
  return Object.assign(console, { groupCollapsed: console.group }) as unknown as Console;
}
