import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { columnsOf } from "../../../lab/format.ts";
import { lineChart, movingAverage, ticks } from "../../../lab/report/chart.ts";
import { courseSection, coursesOf } from "../../../lab/report/course_section.ts";
import { escapeHtml, html, marked } from "../../../lab/report/html.ts";
import { buildReport } from "../../../lab/report/report.ts";
import { curve } from "../../../lab/report/stage_sections.ts";
import { terminalSummary } from "../../../lab/report/summary.ts";
import type { ReportData, TrainingSample } from "../../../lab/report/data.ts";
import { hostile, syntheticReport } from "./synthetic.ts";

/** Text between tags, entities undone. */
function textOf(page: string): string {
  return page
    .replace(/<(script|style)>[^]*?<\/\1>/g, "")
    .replace(/<[^>]*>/g, " ")
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
    .replace(/\s+/g, " ");
}

Deno.test("a report of a whole run has all its parts", () => {
  const text = textOf(buildReport(syntheticReport()));
  for (
    const part of [
      "PPO beats SFT on 78 % of 200 posts",
      "95 %: 72–83 %; at equal length 75 %",
      "llvmpipe (LLVM 15.0.6, 256 bits)",
      "148 · 16 · 36",
      "3.30 ± 0.15",
      "Best of 8",
      "Calibration",
      "guide Ned",
      "value one slot behind EOS equals the score",
      "1 of 5 first-update invariants does not hold",
      "Loss of responses",
      "Explained variance",
      "valid2",
      "ppo.klCoef",
      "policy second moment",
      "Win rates by the gold rule",
      "Win rates by some/gpt-model-4",
      "21.3 %",
      "1,020 requests (8 repeated), 612k tokens read, 61k written, 0.40 in the unit of the prices",
      "Best of 64 3.17",
      "SFT, mean of samples",
      "√KL from SFT, √nats",
      "normalised score, points",
      "means about chosen 0.70",
      "Mean distance from the ideal: 6.1 %",
      "Against Reference",
      "The same posts in the course of training",
    ]
  ) assertStringIncludes(text, part);
  assert(
    !/NaN|undefined|\[object|Infinity/.test(text),
    text.match(/.{60}(NaN|undefined|\[object|Infinity).{20}/)?.[0],
  );
});

Deno.test("whatever stands in a post, the page has one script, and that one is ours", () => {
  const data = syntheticReport();
  // Every string of the data, names of fields apart, is hostile.
  const poisoned = JSON.parse(
    JSON.stringify(data, (key, value) =>
      typeof value === "string" &&
        !["name", "stage", "author", "ours", "theirs", "by", "lifetime", "orders"].includes(key)
        ? value + hostile
        : value),
  ) as ReportData;
  for (const page of [buildReport(data), buildReport(poisoned)]) {
    assertEquals(page.match(/<script/gi)?.length, 1);
    assertEquals(page.match(/<\/script/gi)?.length, 1);
    assert(!/<img/i.test(page));
    const tags = page.replace(/<(script|style)>[^]*?<\/\1>/g, "").match(/<[^>]*>/g)!;
    for (const tag of tags) assert(!/^<[^"]*(?:"[^"]*"[^"]*)*\son\w+=/i.test(tag), tag);
    assert(page.isWellFormed() && !page.includes("\u0000") && !page.includes("\u202e"));
  }
});

Deno.test("the page asks for nothing from elsewhere and says so in its policy", () => {
  const page = buildReport(syntheticReport());
  assert(!/(?:src|href)="(?!#)/.test(page));
  assert(!/url\(|@import|https?:\/\/(?!huggingface\.co)/.test(page.replace(/arxiv[^<]*/gi, "")));
  const digest = /script-src 'sha256-([A-Za-z0-9+/=]{44})'/.exec(page)?.[1];
  assert(digest);
});

Deno.test("the policy's digest is that of the script as it stands", async () => {
  const page = buildReport(syntheticReport());
  const script = /<script>([^]*)<\/script>/.exec(page)![1];
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(script)));
  assertStringIncludes(page, `'sha256-${btoa(String.fromCharCode(...hash))}'`);
});

Deno.test("tags are closed in the order in which they were opened", () => {
  const page = buildReport(syntheticReport()).replace(/<(script|style)>[^]*?<\/\1>/g, "");
  const open: string[] = [];
  for (const [, close, name, self] of page.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^>]*?(\/?)>/gi)) {
    if (self || ["meta", "br", "line", "circle", "path"].includes(name) && !close && self) continue;
    if (["meta", "br"].includes(name)) continue;
    if (!close) open.push(name);
    else assertEquals(open.pop(), name);
  }
  assertEquals(open, []);
});

Deno.test("a run that has only begun gives a report without the parts to come", () => {
  const whole = syntheticReport();
  const page = buildReport({
    run: { ...whole.run, kernels: {}, versions: {} },
    stages: [],
    metrics: whole.metrics.filter(({ stage }) => stage === "sft").slice(0, 1),
    madeAt: whole.madeAt,
  });
  const text = textOf(page);
  assertStringIncludes(text, "Supervised fine-tuning");
  assert(!/Win rates|Reward model Reward|NaN|undefined/.test(text));
  assertEquals(terminalSummary({ run: whole.run, stages: [], metrics: [], madeAt: "" }), "");
});

Deno.test("a configuration of another version is shown as it is", () => {
  const data = syntheticReport();
  data.run.config = { preset: "demo", seed: 1, gone: "<b>" };
  assertStringIncludes(textOf(buildReport(data)), '"gone": "<b>"');
});

Deno.test("values put into HTML are escaped once, lists joined, false and null left out", () => {
  const inner = html`<b title="${`"x"`}">${"<&>"}</b>`;
  assertEquals(
    html`<p>${[inner, "'", null, false, undefined, 0]}</p>`.source,
    '<p><b title="&#34;x&#34;">&#60;&#38;&#62;</b>&#39;0</p>',
  );
  assertEquals(escapeHtml("a\u0007\u202eb\ud800"), "a b\ufffd");
});

Deno.test("phrases are marked where they stand as words, the longer of two first, whatever their characters", () => {
  const at = (text: string, ...phrases: string[]) =>
    html`${marked(text, phrases.map((phrase) => ({ phrase, mark: "fact" as const })))}`.source.replaceAll(
      ' class="fact"',
      "",
    );
  assertEquals(at("Ned and NED, Nedra.", "ned"), "<mark>Ned</mark> and <mark>NED</mark>, Nedra.");
  assertEquals(at("my guide Ned", "Ned", "guide Ned"), "my <mark>guide Ned</mark>");
  assertEquals(at("why? (a+b)*", "(a+b)*", "why?"), "<mark>why?</mark> <mark>(a+b)*</mark>");
  assertEquals(at("a\n\nb", ""), "a<br>b");
  assertEquals(at("<i>", "i"), "&#60;<mark>i</mark>&#62;");
});

Deno.test("a post's course has its first and last summary and evenly spread ones between, each update once", () => {
  const sample = (id: string, update: number, summary = `${id} at ${update}`): TrainingSample => ({
    ...{ stage: "ppo", update, id, title: id, reference: "r", summary, length: 3, ended: true, reward: 0 },
  });
  const courses = coursesOf([
    ...Array.from({ length: 30 }, (_, i) => sample("a", 10 * i)),
    sample("b", 5),
    sample("a", 290, "later"),
  ]);
  assertEquals(courses.map(({ title }) => title), ["a", "b"]);
  assertEquals(courses[0].summaries.map(({ update }) => update), [0, 40, 80, 120, 170, 210, 250, 290]);
  assertEquals(courses[0].summaries.at(-1)!.summary, "later");
  assertEquals(courses[1].summaries.length, 1);
  assertEquals(courseSection([]), undefined);
});

Deno.test("a judge that depends on the order is shown as such, one that does not has no such columns", () => {
  const page = textOf(buildReport(syntheticReport()));
  const of = (judge: string) => page.slice(page.indexOf(`Win rates by ${judge}`)).slice(0, 900);
  assertStringIncludes(of("some/gpt-model-4"), "Orders differ");
  assertStringIncludes(of("some/gpt-model-4"), "57.1 %");
  assertStringIncludes(of("some/gpt-model-4"), "chance has decided");
  const gold = of("the gold rule").replace(/Win rates by some.*/, "");
  assert(!/Orders differ|No verdict/.test(gold), gold);
});

Deno.test("an axis of fractions has ticks between whole numbers, one that counts has none", () => {
  const ticksOf = (x: number[]) => {
    const source = lineChart({ title: "t", xName: "x", series: [{ name: "s", x, y: x, colour: 1 }] }).source;
    return Array.from(source.matchAll(/class="tick"[^]*?>([^<>]+)<\/text>/g), ([, label]) => label.trim());
  };
  assertEquals(ticksOf([0, 0.4, 1.1]), ["0", "0.5", "1"]);
  assertEquals(ticksOf([0, 1]), ["0", "1"]);
  // KL may fall again: the axis covers what is drawn, wherever in its course.
  assertEquals(ticksOf([0, 4, 2]), ["0", "1", "2", "3", "4"]);
});

Deno.test("a curve takes the later of two records of one step, and breaks at null", () => {
  const data = syntheticReport();
  data.metrics = [
    { stage: "sft", step: 2, loss: 5 },
    { stage: "sft", step: 1, loss: null },
    { stage: "sft", step: 2, loss: 4 },
    { stage: "reward", step: 3, loss: 9 },
  ];
  const found = curve(data, "sft", "loss")!;
  assertEquals([found.x, found.y], [[1, 2], [null, 4]]);
  assertEquals(curve(data, "ppo", "loss"), undefined);
});

Deno.test("charts hold with one point, with equal values, with thousands of points, with none", () => {
  const chart = (x: number[], y: (number | null)[]) =>
    lineChart({ title: "t", xName: "step", series: [{ name: "s", x, y, colour: 1 }] }).source;
  for (
    const source of [
      chart([1], [2]),
      chart([1, 2, 3], [0, 0, 0]),
      chart([1, 2], [1e-30, 1e30]),
      chart([1], [null]),
    ]
  ) {
    assert(!/NaN|Infinity|undefined/.test(source), source);
  }
  const x = Array.from({ length: 20_000 }, (_, i) => i);
  const long = chart(x, x.map((i) => i % 7 === 0 ? null : Math.sin(i / 1000)));
  assert(!/NaN/.test(long) && long.length < 60_000, String(long.length));
});

Deno.test("ticks are round and inside; a moving average keeps a line as it is", () => {
  assertEquals(ticks(0, 1, 4), [0, 0.5, 1]);
  assertEquals(ticks(-0.03, 0.05, 4), [-0.02, 0, 0.02, 0.04]);
  assertEquals(ticks(3, 3, 4), [3]);
  movingAverage([1, 2, null, 4, 5, 6], 1).forEach((value, i) =>
    value === null ? assertEquals(i, 2) : assertAlmostEquals(value, [1.5, 1.5, 0, 4.5, 5, 5.5][i])
  );
});

Deno.test("the summary for the terminal keeps to the width and lets no control character through", () => {
  for (const width of [40, 63, 80, 200]) {
    const lines = terminalSummary(syntheticReport(), width, 4).split("\n");
    for (const line of lines) assert(columnsOf(line) <= width, `${width}: ${line}`);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f\u202e]/.test(lines.join("\n")));
  }
  const text = terminalSummary(syntheticReport(), 100);
  assertStringIncludes(text, "  PPO         3.30    2.10    18.9  100 %  6.3    0.400\n");
  assertStringIncludes(text, "PPO over SFT: 78 % (72 % to 83 %, at equal length 75 %) by the gold rule\n");
  assertStringIncludes(text, "by some/gpt-model-4; orders differ on 21 %");
  assertStringIncludes(
    text,
    "Does not hold in the first update: value one slot behind EOS equals the score (found 0.0214).",
  );
});

Deno.test("alarms stand in the head of the report and at the end of the terminal's summary, with place and reaction", () => {
  const data: ReportData = {
    ...syntheticReport(),
    alarms: [{
      stage: "ppo",
      step: 12,
      figure: "objective/kl",
      sentence: "KL is 63. Going back to the checkpoint of step 10.",
      reaction: "rollback",
      inputs: "",
      learningRateFactor: 0.5,
    }, {
      stage: "sft",
      step: 0,
      figure: "device",
      sentence: "The device was lost.",
      reaction: "reopen",
      inputs: "",
    }],
  };
  for (const text of [textOf(buildReport(data)), terminalSummary(data, 120)]) {
    assertStringIncludes(text, "ppo, update 12: KL is 63. Going back to the checkpoint of step 10.");
    assertStringIncludes(text, "sft: The device was lost.");
  }
});
