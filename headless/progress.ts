/** Progress in a terminal: one line that is redrawn, or a plain line every few seconds where output goes to a file or pipe. */
import { duration, formatBytes, formatFigure, groupThousands, shortCount } from "../lab/format.ts";
import { type Figures, type Progress, Rate, type StageProgress } from "../lab/progress.ts";

/** What progress is written to. */
export interface Terminal {
  write(text: string): void;
  /** Its width in columns now; undefined where it is no terminal and lines cannot be redrawn. */
  columns(): number | undefined;
  colour: boolean;
  /** Milliseconds, never running backwards. */
  now(): number;
}

/** The process's standard output. NO_COLOR is honoured. */
export const standardOutput = () => terminalOf(Deno.stdout);

/** The process's standard error, for tasks whose output is for programs. */
export const standardError = () => terminalOf(Deno.stderr);

function terminalOf(stream: typeof Deno.stdout | typeof Deno.stderr): Terminal {
  const encoder = new TextEncoder();
  const terminal = stream.isTerminal();
  return {
    write(text) {
      const bytes = encoder.encode(text);
      try {
        for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
      } catch (error) {
        // The terminal was closed, or a pipe's reader has gone: nobody sees it, which must not end a run of days.
        if (!(error instanceof Deno.errors.BrokenPipe) && (error as { code?: string }).code !== "EIO") {
          throw error;
        }
      }
    },
    columns() {
      if (!terminal) return undefined;
      try {
        return Deno.consoleSize().columns || 80;
      } catch {
        return 80;
      }
    },
    colour: terminal && !Deno.noColor,
    now: () => performance.now(),
  };
}

/** Redraw at most so often, in milliseconds; on a terminal and elsewhere. */
const redrawEvery = 100, lineEvery = 5000;

/** Columns where there is no terminal. */
const pipeColumns = 100;

/** Progress on a terminal. No line is wider than it; elsewhere lines are plain text of at most 100 columns. */
export function terminalProgress(terminal: Terminal): Progress {
  /** The drawn line that is to be replaced, if any. */
  let drawn = false;
  const paint = (text: string, code: string) => terminal.colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  const clear = () => {
    if (drawn) terminal.write("\r\x1b[K");
    drawn = false;
  };
  const note = (text: string) => {
    clear();
    const columns = terminal.columns() ?? pipeColumns;
    for (const line of printable(text).split("\n")) {
      for (const part of wrap(line, columns)) terminal.write(part + "\n");
    }
  };

  const stage = (name: string, { steps, unit }: { steps: number; unit: string }): StageProgress => {
    const started = terminal.now();
    const rate = new Rate();
    let n = 0, tokens = 0, ran = 0, shown = -Infinity;
    let figures: Figures = {};
    let finished = false;
    const amount = (of: number) => unit === "bytes" ? formatBytes(of) : groupThousands(of);

    const parts = () => {
      const speed = rate.get();
      return {
        count: `${amount(n)}/${amount(steps)}`,
        share: `${Math.floor(100 * (steps > 0 ? Math.min(1, n / steps) : 1))} %`,
        speed: speed &&
          (speed.tokens > 0
            ? `${shortCount(speed.tokens)} tokens/s`
            : unit === "bytes"
            ? `${formatBytes(speed.steps)}/s`
            : `${shortCount(speed.steps)} ${unit}/s`),
        left: speed && n < steps ? `${duration((steps - n) / speed.steps)} left` : undefined,
      };
    };
    const draw = () => {
      const columns = terminal.columns();
      const { count, share, speed, left } = parts();
      const extras = shownFigures(figures);
      if (columns === undefined) {
        const words = [count, unit === "bytes" ? undefined : unit, share, speed, left, ...extras].filter((
          word,
        ) => word !== undefined);
        terminal.write(cut(`${name}  ${words.join("  ")}`, pipeColumns) + "\n");
        return;
      }
      // The last column stays free: some terminals wrap as soon as it is written to.
      const width = columns - 1;
      const head = cut(name, 10).padEnd(Math.min(10, Math.max(name.length, 10)));
      const required = [count, share], wanted = [speed, left, ...extras].filter((word) => word !== undefined);
      let used = head.length + required.reduce((sum, word) => sum + 2 + word.length, 0);
      const bar = Math.max(0, Math.min(24, Math.floor(width / 5), width - used - 2));
      if (bar >= 4) used += bar + 2;
      const words = [...required];
      for (const word of wanted) {
        if (used + 2 + word.length > width) break;
        words.push(word);
        used += 2 + word.length;
      }
      const line = [head, ...(bar >= 4 ? [barOf(n / Math.max(1, steps), bar)] : []), ...words].join("  ");
      const fitted = cut(line, width);
      terminal.write(
        "\r\x1b[K" + (fitted.startsWith(head) ? paint(head, "1") + fitted.slice(head.length) : fitted),
      );
      drawn = true;
    };

    return {
      step(at, latest = {}) {
        if (finished) return;
        const time = terminal.now();
        const ofStep = typeof latest.tokens === "number" && latest.tokens > 0 ? latest.tokens : 0;
        if (ran === 0) rate.add(started, Math.max(0, at - 1));
        // A step that tells more of itself is still the one.
        if (at !== n || ran === 0) ran += 1;
        n = at;
        tokens += ofStep;
        rate.add(time, at, ofStep);
        figures = { ...figures, ...latest };
        if (time - shown < (terminal.columns() === undefined ? lineEvery : redrawEvery)) return;
        shown = time;
        draw();
      },
      note,
      done(summary) {
        if (finished) return;
        finished = true;
        clear();
        const seconds = (terminal.now() - started) / 1000;
        const speed = seconds > 0 && tokens > 0 ? `${shortCount(tokens / seconds)} tokens/s` : undefined;
        const facts = [
          `${unit === "bytes" ? amount(n) : `${amount(Math.max(n, ran))} ${unit}`} in ${duration(seconds)}`,
          speed,
          summary && printable(summary),
        ].filter((word) => word !== undefined && word !== "").join(" · ");
        const columns = terminal.columns() ?? pipeColumns;
        const head = name.padEnd(10);
        const lines = wrap(facts, Math.max(8, columns - head.length - 4));
        lines.forEach((line, i) => {
          const mark = i === 0 ? `${paint("✓", "32")} ${paint(head, "1")}  ` : " ".repeat(head.length + 4);
          terminal.write((columns < 24 ? line : mark + line) + "\n");
        });
      },
    };
  };
  return { stage, note };
}

function shownFigures(figures: Figures): string[] {
  return Object.entries(figures).filter(([name]) => name !== "tokens").map(([name, value]) => {
    if (typeof value === "string") return `${name} ${printable(value)}`;
    return name === "memory" ? formatBytes(value) : `${name} ${formatFigure(value)}`;
  });
}

/** A bar of `width` columns, filled to `share` in eighths. */
function barOf(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? "" : String.fromCodePoint(0x2590 - eighths % 8);
  return ("█".repeat(full) + part).padEnd(width, "·");
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : width < 1 ? "" : text.slice(0, width - 1) + "…";
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (let word of text.split(" ")) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    for (; word.length > width; word = word.slice(width)) lines.push(word.slice(0, width));
    line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}

/** Without control characters, which could move the cursor or worse; line breaks stay. */
function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]+/g, " ");
}
