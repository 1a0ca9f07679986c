/** The command line: flags of a task and, for tasks that run the recipe, every field of the configuration by its path. */
import {
  configField,
  configFields,
  originsNote,
  type Overrides,
  presetConfig,
  valueAt,
} from "../lab/config.ts";
import type { PresetName } from "../lab/config.ts";
import {
  type Field,
  type Fields,
  formatValue,
  nearestOf,
  parseField,
  type Values,
} from "../lab/config_fields.ts";

/** What a command line asks for. */
export interface Flags<F extends Fields> {
  /** The task's own flags, their defaults filled in. */
  own: Values<F>;
  /** Configuration fields as given, without the preset; for `configure`. */
  overrides: Overrides;
  /** Undefined where none was named. */
  preset?: PresetName;
  /** Names of all flags given, own and fields, without dashes. */
  given: ReadonlySet<string>;
  /** Arguments that are no flags. */
  rest: string[];
  /** `--help` or `-h` was among the arguments. Nothing else was checked then. */
  help: boolean;
}

/** What a task takes. */
export interface TaskUsage<F extends Fields> {
  /** "train" in `deno task train`. */
  task: string;
  /** One sentence, for the head of `--help`. */
  about: string;
  /** Its own flags. */
  own: F;
  /** Whether configuration fields are flags of this task. */
  fields?: boolean;
  /** What other arguments there may be, for the usage line: "[POST.json]". None if left out. */
  rest?: string;
  /** Lines shown at the end of `--help`: command and what it does. */
  examples?: readonly (readonly [command: string, effect: string])[];
}

/**
 * Reads a command line. `--name value`, `--name=value`, and for true or false also `--name` alone; the last of several counts;
 * what follows a bare `--` is no flag.
 * @throws RangeError in one sentence for an unknown flag, with the nearest known one, or a value that the flag does not take
 */
export function parseFlags<const F extends Fields>(args: readonly string[], usage: TaskUsage<F>): Flags<F> {
  const own = Object.fromEntries(Object.entries(usage.own).map(([name, field]) => [name, field.default]));
  const overrides: Record<string, unknown> = {};
  const given = new Set<string>();
  const rest: string[] = [];
  const flags = () => ({ own: own as Values<F>, overrides: overrides as Overrides, given, rest });
  const end = args.indexOf("--");
  if (args.slice(0, end < 0 ? undefined : end).some((arg) => arg === "--help" || arg === "-h")) {
    return { ...flags(), help: true };
  }

  let preset: PresetName | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === "--") {
      rest.push(...args.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      rest.push(arg);
      continue;
    }
    const [, name, inline] = /^--?([^=]*)(?:=([^]*))?$/.exec(arg)!;
    const placed = usage.fields ? configField(name) : undefined;
    const field = Object.hasOwn(usage.own, name) ? usage.own[name] : placed?.field;
    if (!field || !arg.startsWith("--")) throw new RangeError(unknownFlag(arg, name, usage));
    let value = inline;
    if (value === undefined) {
      const next = args[i + 1];
      if (field.kind === "boolean") {
        value = next === "true" || next === "false" ? args[++i] : "true";
      } else if (next === undefined || next.startsWith("--")) {
        throw new RangeError(`--${name} needs a value, such as --${name} ${example(field)}.`);
      } else {
        value = args[++i];
      }
    }
    const parsed = parseField(`--${name}`, field, value);
    given.add(name);
    if (Object.hasOwn(usage.own, name)) own[name] = parsed as typeof own[string];
    else if (name === "preset") preset = parsed as PresetName;
    else if (placed!.section === "run") overrides[name] = parsed;
    else overrides[placed!.section] = { ...overrides[placed!.section] as object, [placed!.name]: parsed };
  }
  if (rest.length > 0 && usage.rest === undefined) {
    throw new RangeError(
      `deno task ${usage.task} takes flags only, not "${
        rest[0]
      }"; deno task ${usage.task} --help lists them.`,
    );
  }
  return { ...flags(), preset, help: false };
}

function unknownFlag<F extends Fields>(
  arg: string,
  name: string,
  { task, own, fields }: TaskUsage<F>,
): string {
  const known = [...Object.keys(own), "help", ...(fields ? configFields.map(({ path }) => path) : [])];
  const shown = arg.replace(/=[^]*/, "");
  const near = nearestOf(name, known, "--");
  return `deno task ${task} has no flag ${shown}${near}; deno task ${task} --help lists all.`;
}

function example(field: Field): string {
  if (field.kind === "choice") return field.choices[0];
  if (field.kind === "list" && field.default.length === 0) return String(field.choices?.[0] ?? 8);
  return formatValue(field.default) || placeholder(field);
}

/** How `--help` is to look. */
export interface HelpLayout {
  /** Columns; held between 60 and 110. */
  width?: number;
  /** Whether to use ANSI colours. */
  colour?: boolean;
}

const titles: Record<string, string> = {
  run: "The run",
  preprocess: "Preprocess: posts to tokens",
  sft: "SFT: supervised fine-tuning on reference summaries",
  reward: "Reward model: trained on comparisons",
  ppo: "PPO: reinforcement learning against the reward model",
  evaluate: "Evaluation",
  checkpoints: "Checkpoints",
};

type Style = "plain" | "bold" | "dim" | "value";
const ansi: Record<Style, string> = { plain: "", bold: "\x1b[1m", dim: "\x1b[2m", value: "\x1b[36m" };

/** The text of `--help`: every flag with what it takes, its default, the demo's where that differs, and where the default comes from. */
export function helpText<F extends Fields>(
  usage: TaskUsage<F>,
  { width = 100, colour = false }: HelpLayout = {},
) {
  const columns = Math.min(110, Math.max(60, width));
  const style = (text: string, as: Style) => colour && ansi[as] ? `${ansi[as]}${text}\x1b[0m` : text;
  const lines: string[] = [];
  const say = (indent: number, ...parts: [string, Style][]) =>
    lines.push(...wrap(parts, columns - indent, style).map((line) => " ".repeat(indent) + line));
  const entry = (head: string, ...paragraphs: [string, Style][][]) => {
    const at = 30;
    const body = paragraphs.flatMap((parts) => wrap(parts, columns - at, style));
    const first = head.length + 4 <= at ? body.shift() ?? "" : "";
    lines.push(`  ${style(head, "bold")}${first && " ".repeat(at - 2 - head.length)}${first}`);
    lines.push(...body.map((line) => " ".repeat(at) + line));
  };
  const demo = presetConfig("demo");
  const fieldEntry = (path: string, field: Field, inConfig: boolean) => {
    const value = formatValue(field.default) || (inConfig ? "none" : "");
    const demoValue = inConfig && path !== "preset" ? formatValue(valueAt(demo, path)) || "none" : value;
    const facts: [string, Style][] = [];
    if (value && (inConfig || field.kind !== "boolean")) {
      const unit = field.unit && !/^[01]$/.test(value) ? ` ${field.unit}` : "";
      facts.push([`${value}${unit}${demoValue === value ? "" : `, demo ${demoValue}`}`, "value"]);
    }
    if (field.from) facts.push(["·", "dim"], [field.from, "dim"]);
    const head = `--${path}${field.kind === "boolean" ? "" : ` ${placeholder(field)}`}`;
    entry(head, [[field.doc, "plain"]], facts);
  };

  say(0, [`deno task ${usage.task}`, "bold"], [usage.about, "plain"]);
  lines.push("");
  const words = [usage.rest, "[FLAGS]"].filter((word) => word !== undefined);
  say(0, ["Usage:", "plain"], [`deno task ${usage.task} ${words.join(" ")}`, "bold"]);
  lines.push("");
  for (const [name, field] of Object.entries(usage.own)) fieldEntry(name, field, false);
  entry("--help", [["This text", "plain"]]);
  if (usage.fields) {
    lines.push("");
    say(0, [
      "The configuration: each field is a flag, --name value or --name=value. Below each: its default, the demo preset's " +
      "where that differs, and where the default comes from.",
      "plain",
    ]);
    let section = "";
    for (const placed of configFields) {
      if (placed.section !== section) {
        section = placed.section;
        lines.push("", style(titles[section] ?? section, "bold"));
      }
      fieldEntry(placed.path, placed.field, true);
    }
    lines.push("");
    say(0, [originsNote, "dim"]);
  }
  if (usage.examples?.length) {
    lines.push("", style("Examples", "bold"));
    for (const [command, effect] of usage.examples) {
      say(2, [command, "value"]);
      say(6, [effect, "plain"]);
    }
  }
  return lines.join("\n");
}

/** What stands for the value in `--help`. */
function placeholder(field: Field): string {
  switch (field.kind) {
    case "choice":
      return field.choices.join("|");
    case "text":
      return field.placeholder ?? "TEXT";
    case "list":
      return field.of === "choice" ? "LIST" : "N,N";
    case "boolean":
      return "true|false";
    default:
      return field.kind === "integer" ? "N" : "X";
  }
}

/** Breaks styled text into lines of at most `width` visible columns. A longer word gets a line of its own. */
function wrap(parts: [string, Style][], width: number, style: (text: string, as: Style) => string): string[] {
  const lines: string[] = [];
  let line = "", used = 0;
  for (const [text, as] of parts) {
    for (const word of text.split(" ")) {
      if (used > 0 && used + 1 + word.length > width) {
        lines.push(line);
        [line, used] = ["", 0];
      }
      line += (used > 0 ? " " : "") + style(word, as);
      used += (used > 0 ? 1 : 0) + word.length;
    }
  }
  return used > 0 ? [...lines, line] : lines;
}
