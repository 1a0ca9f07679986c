/** `deno task train` with other judges, from outside: stopped and gone on with, and with nothing of the key in what it leaves. */
import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { joinPath } from "../../lab/bytes.ts";
import type { Evaluation } from "../../lab/report/data.ts";
import { completion, shown, standIn } from "../lab/judges/stand_in.ts";
import { assertExplained, ground, tiny, train } from "./training.ts";

Deno.test("judges from the command line", async (t) => {
  const place = await ground();
  const out = joinPath(place.folder, "run");
  const key = "sk-of-nobody-0123456789";
  const evaluation = async () =>
    JSON.parse(await Deno.readTextFile(joinPath(out, "evaluation.json"))) as Evaluation;
  const judged = (judge: string, model: string, ...more: string[]) =>
    tiny(place, out, "--evaluate.judge", judge, "--evaluate.judgeModel", model, ...more);

  await t.step("a judge that cannot be asked is told before any work", async () => {
    const none = { OPENAI_API_KEY: "", OPENAI_BASE_URL: "" };
    assertExplained(await train(judged("openai", "m"), { env: none }), "needs OPENAI_API_KEY");
    assertExplained(await train(judged("local", "/nowhere/at-all")), "/nowhere/at-all");
    assertExplained(await train(judged("second", place.model)), "is a language model");
    assertExplained(await train(judged("second", "")), "evaluate.judgeModel");
    assert(!await Deno.stat(joinPath(out, "models")).then(() => true, () => false));
  });

  await t.step(
    "an endpoint that fails and then does not: nothing is asked twice, the key is nowhere",
    async () => {
      let broken = true;
      await using server = standIn(({ text }, n) => {
        if (broken && n >= 6) return Response.json({ error: { message: `no ${key}` } }, { status: 403 });
        if (n === 2) return new Response("busy", { status: 429, headers: { "retry-after": "0.05" } });
        const [a, b] = shown(text);
        return completion(`Comparison: by length.\nPreferred: ${a.length >= b.length ? "A" : "B"}`);
      }, key);
      const env = { OPENAI_BASE_URL: server.endpoint.url, OPENAI_API_KEY: key };
      const args = judged("openai", "judge/of-all", "--evaluate.judgeAtOnce", "1");
      assertExplained(await train(args, { env }), "refuses the key", "no …", "--resume");
      const answered = server.requests.length - 2; // one was busy, one refused
      assertEquals(answered, 5);
      broken = false;
      const { code, out: printed, err } = await train(["--resume", "--out", out], { env });
      assertEquals([code, err], [0, ""]);
      assertMatch(printed, new RegExp(`comparisons, ${answered} of them\\s+answered before`));
      assertEquals(printed.split("\n").filter((line) => line.length > 100), []);
      const { matches, judging } = await evaluation();
      assertEquals(matches[0].judge, "judge/of-all");
      assertEquals([judging!.kept, judging!.requests], [answered, judging!.comparisons - answered]);
      assert(server.requests.every(({ headers }) => headers.get("authorization") === `Bearer ${key}`));
      const report = await Deno.readTextFile(joinPath(out, "report.html"));
      assert(report.includes("Win rates by judge/of-all"));
      assert(!(printed + err).includes(key));
      for await (const path of filesUnder(out)) {
        assert(!new TextDecoder().decode(await Deno.readFile(path)).includes(key), path);
      }
    },
  );

  await t.step(
    "the run's own reward model as the second one judges as itself, over the summaries that are there",
    async () => {
      const before = await evaluation();
      const { code, err, out: printed } = await train(judged("second", joinPath(out, "models/reward")));
      assertEquals([code, err], [0, ""]);
      assertMatch(printed, /ppo: done before/);
      const { matches, authors } = await evaluation();
      assertEquals(authors, before.authors);
      const by = (judge: string) => matches.filter((match) => match.judge === judge);
      assert(by("second").length > 4 && by("reward").length === 4);
      for (const match of by("reward")) {
        const same = by("second").find(({ ours, theirs }) => ours === match.ours && theirs === match.theirs)!;
        assertEquals(same.raw, match.raw);
      }
    },
  );

  await t.step("a judge whose files have changed judges again, one that has not does not", async () => {
    const folder = joinPath(place.folder, "judge");
    const put = async (model: string) => {
      await Deno.mkdir(folder, { recursive: true });
      for await (const { name } of Deno.readDir(joinPath(out, "models", model))) {
        await Deno.copyFile(joinPath(out, "models", model, name), joinPath(folder, name));
      }
    };
    const judge = async () => {
      const { code, err, out: printed } = await train(judged("second", folder));
      assertEquals([code, err], [0, ""]);
      return { again: !/evaluate: done before with/.test(printed), matches: (await evaluation()).matches };
    };
    await put("reward");
    const first = await judge();
    assertEquals([first.again, (await judge()).again], [true, false]);
    await put("critic");
    const other = await judge();
    assert(other.again);
    assert(JSON.stringify(other.matches) !== JSON.stringify(first.matches));
  });

  await Deno.remove(place.folder, { recursive: true });
});

async function* filesUnder(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = joinPath(folder, name);
    if (isDirectory) yield* filesUnder(path);
    else yield path;
  }
}
