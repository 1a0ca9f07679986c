import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { type Terminal, terminalProgress } from "../../headless/progress.ts";
import { Rate } from "../../lab/progress.ts";

function fake(columns: number | undefined, colour = false) {
  const clock = { ms: 0 };
  let text = "";
  const terminal: Terminal = {
    write: (more) => text += more,
    columns: () => columns,
    colour,
    now: () => clock.ms,
  };
  return { terminal, clock, text: () => text };
}

/** What one sees: lines after carriage returns have done their work, colours taken out. */
function seen(text: string): string[] {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[\d+m/g, "").split("\n").map((line) => line.split("\r\x1b[K").at(-1)!);
}

Deno.test("no line that is ever drawn is wider than the terminal", () => {
  for (let columns = 1; columns <= 200; columns += columns < 40 ? 1 : 23) {
    const { terminal, clock, text } = fake(columns);
    const stage = terminalProgress(terminal).stage("preprocess", { steps: 116_722, unit: "rows" });
    for (let n = 1; n < 60; n++) {
      clock.ms += 150;
      stage.step(n, { loss: Math.exp(n), tokens: 5000 * n, memory: 2 ** n, name: "a longer word" });
    }
    stage.note(
      "A note that is long enough to be broken, with anunbrokenwordthatislongerthanmostterminalsarewide.",
    );
    stage.done("everything went well and here is a long explanation of that");
    // deno-lint-ignore no-control-regex
    for (const line of text().split(/\n|\r\x1b\[K/)) {
      assert(line.length <= columns || columns < 12, `${columns}: ${line}`);
    }
  }
});

Deno.test("a terminal's line has bar, count, rate, time left and figures", () => {
  const { terminal, clock, text } = fake(140);
  const stage = terminalProgress(terminal).stage("sft", { steps: 911, unit: "steps" });
  for (let n = 1; n <= 20; n++) {
    clock.ms += 500;
    stage.step(n, { loss: 2.3456, lr: 3e-6, tokens: 4000, memory: 3 * 2 ** 30 });
  }
  assertEquals(seen(text()), [
    "sft         ▌·······················  20/911  2 %  8k tokens/s  7:26 left  loss 2.346  lr 3e−6  3 GiB",
  ]);
});

Deno.test("bytes are told in KiB and MiB, also their rate and their sum", () => {
  const { terminal, clock, text } = fake(140);
  const stage = terminalProgress(terminal).stage("fetch", { steps: 988 * 2 ** 20, unit: "bytes" });
  for (let n = 1; n <= 20; n++) {
    clock.ms += 500;
    stage.step((200 + 10 * n) * 2 ** 20, { file: "model.safetensors" });
  }
  stage.done("Qwen/Qwen2.5-0.5B");
  assertEquals(seen(text()), [
    "✓ fetch       400 MiB in 10 s · Qwen/Qwen2.5-0.5B",
    "",
  ]);
  assertMatch(text(), /400 MiB\/988 MiB {2}40 % {2}20 MiB\/s {2}29 s left {2}file model\.safetensors/);
});

Deno.test("where there is no terminal, a plain line comes every five seconds", () => {
  const { terminal, clock, text } = fake(undefined, true);
  const stage = terminalProgress(terminal).stage("ppo", { steps: 40, unit: "updates" });
  for (let n = 1; n <= 40; n++) {
    clock.ms += 1000;
    stage.step(n, { score: -0.5 });
  }
  assertEquals(text().split("\n").length - 1, 8);
  assertMatch(text(), /^ppo {2}1\/40 {2}updates {2}2 % {2}1 updates\/s {2}39 s left {2}score −0\.500\n/);
  assert(!text().includes("\r"));
});

Deno.test("a stage ends with its totals, and redraws nothing afterwards", () => {
  const { terminal, clock, text } = fake(100);
  const stage = terminalProgress(terminal).stage("reward", { steps: 2, unit: "steps" });
  clock.ms = 30_000;
  stage.step(1, { tokens: 60_000 });
  clock.ms = 60_000;
  stage.step(2, { tokens: 60_000 });
  stage.done("accuracy 0.84");
  stage.step(3, {});
  stage.done("twice");
  assertEquals(seen(text()), ["✓ reward      2 steps in 1:00 · 2k tokens/s · accuracy 0.84", ""]);
});

Deno.test("what was counted before a resume is neither in the rate nor in the time left", () => {
  const { terminal, clock, text } = fake(120);
  const stage = terminalProgress(terminal).stage("sft", { steps: 1000, unit: "steps" });
  clock.ms = 1000;
  stage.step(991, {});
  assertMatch(seen(text())[0], /991\/1,000 {2}99 % {2}1 steps\/s {2}9\.0 s left/);
});

Deno.test("colour is used only where it is wanted", () => {
  for (const colour of [false, true]) {
    const { terminal, text } = fake(80, colour);
    const stage = terminalProgress(terminal).stage("sft", { steps: 1, unit: "steps" });
    stage.step(1, {});
    stage.done();
    assertEquals(text().includes("\x1b[1m"), colour);
  }
});

Deno.test("control characters in notes and figures do not reach the terminal", () => {
  const { terminal, text } = fake(80);
  const progress = terminalProgress(terminal);
  progress.note("a\x1b[2Jb\x07");
  progress.stage("sft", { steps: 1, unit: "steps" }).step(1, { text: "c\x1b]0;d\x07" });
  assert(!text().includes("\x1b[2J") && !text().includes("\x07") && !text().includes("\x1b]"));
});

Deno.test("a stage of no steps, or whose clock stands still, is no division by zero", () => {
  const { terminal, text } = fake(80);
  const stage = terminalProgress(terminal).stage("sft", { steps: 0, unit: "steps" });
  stage.step(0, {});
  stage.done();
  assert(!/NaN|Infinity/.test(text()));
});

Deno.test("the rate forgets a slow first step", () => {
  const rate = new Rate();
  assertEquals(rate.get(), undefined);
  rate.add(0, 0);
  rate.add(60_000, 1, 100);
  for (let n = 2; n <= 30; n++) rate.add(60_000 + 100 * n, n, 100);
  const { steps, tokens } = rate.get()!;
  assert(Math.abs(steps - 10) < 1e-9 && Math.abs(tokens - 1000) < 1e-6);
});
