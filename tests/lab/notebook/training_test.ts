/** Training and the microscope through the lab that cells see. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../../headless/files.ts";
import { joinPath } from "../../../lab/bytes.ts";
import { shippedModels } from "../../../lab/demo/models.ts";
import { labTest, testCell } from "./lab_testing.ts";

const demo = decodeURIComponent(new URL("../../../public/demo", import.meta.url).pathname);
const there = await Promise.all(shippedModels.map((name) => diskFiles().exists(joinPath(demo, name))));

if (!there.every(Boolean)) {
  Deno.test({
    name: "cells can train (skipped: the demo's trained models are not here)",
    ignore: true,
    fn() {},
  });
} else {
  labTest("cells take steps of all three stages, each on the one before", async ({ lab, cells }) => {
    const sft = await lab.trainer("sft", { steps: 4, batch: 8, learningRate: 1e-3 });
    assertEquals([sft.stage, sft.steps, sft.settings.batch, sft.settings.learningRate], ["sft", 4, 8, 1e-3]);
    const heard: number[] = [];
    const records = await sft.run(10, ({ step }) => heard.push(step));
    assertEquals([heard, await sft.done()], [[1, 2, 3, 4], 4]);
    assert(Number(records[3].loss) < Number(records[0].loss), JSON.stringify(records));
    await assertRejects(() => sft.step(), RangeError, "have been taken");
    const [post] = await lab.posts("validation", { count: 1 });
    const [sample] = await sft.sample(1);
    assertEquals(sample.reference, post.summary);
    const model = await sft.model();
    assertEquals([model.place, model.reward], ["sft in training", false]);
    assert((await model.summarise(post)).tokens.length > 0);

    const reward = await lab.trainer("reward", {
      base: sft,
      steps: 2,
      batch: 4,
      evalRows: 4,
      normaliseRows: 8,
    });
    const [{ accuracy }] = await reward.run(1);
    assert(Number(accuracy) >= 0 && Number(accuracy) <= 1);
    assert(Number.isFinite(await reward.normalise()));
    const [pair] = await reward.samplePairs(1);
    assert(pair.chosen.text !== pair.rejected.text && Number.isFinite(pair.chosen.score));
    assert((await reward.evaluate())["eval/accuracy"] !== undefined);

    const ppo = await lab.trainer("ppo", {
      policy: sft,
      reward,
      steps: 2,
      batch: 4,
      responseLength: 8,
      seed: 3,
    });
    const update = await ppo.step();
    assertEquals([update.stage, update.step, update["objective/kl"], await ppo.beta()], ["ppo", 1, 0, 0.05]);
    assertEquals((await ppo.invariants()).filter(({ passed }) => !passed), []);
    const [episode] = await ppo.episodes(1);
    assertEquals(episode.logprob.length, episode.response.length);
    const [rewarded] = await ppo.sample(1);
    assert(Number.isFinite(rewarded.reward) && Number.isFinite(rewarded.gold));

    await assertRejects(() => lab.trainer("sft", { learnRate: 1 }), RangeError, "sft.learningRate");
    await assertRejects(() => lab.trainer("sft", { reward: "reward" }), RangeError, 'takes no "reward"');
    await assertRejects(
      () => lab.trainer("ppo", { reward: "sft" }),
      RangeError,
      "where a reward model is needed",
    );
    await assertRejects(() => lab.trainer("dpo" as "ppo"), TypeError, '"sft", "reward" or "ppo"');
    await assertRejects(() => sft.invariants(), TypeError, "has no invariants");
    // What a cell made is gone when it runs again.
    cells.current = testCell("b");
    await sft.free();
    await assertRejects(() => sft.done(), Error, "no longer there");
    await assertRejects(() => model.summarise(post), Error, "trainer is gone");
  });

  labTest("cells see an update through the microscope and trace its numbers", async ({ lab }) => {
    const microscope = await lab.microscope({ policy: "ppo", posts: 2, responseLength: 16, epochs: 2 });
    const { episodes } = await microscope.rollout();
    assertEquals([episodes.length, microscope.slots, microscope.knobs.epochs], [2, 16, 2]);
    const { derivation, checks, steps } = await microscope.update({ lambda: 0.5 });
    assertEquals(checks.filter(({ passed }) => !passed), []);
    assertEquals(steps.length, 2);
    const at = { quantity: "advantage" as const, episode: 1, slot: 0 };
    const found = await lab.trace(derivation, at);
    assert(Math.abs(found.value - derivation.episodes[1].slots[0].advantage) < 1e-12);
    assertEquals(found.inputs[1], { symbol: "λ", value: 0.5 });
    assert((await lab.quantities()).some(({ name }) => name === at.quantity));
    const alone = await microscope.derive({ lambda: 0.5 });
    assertEquals(alone.episodes, derivation.episodes);
    const { slope } = await microscope.slope({ tensor: "norm", index: 0 });
    assert(Number.isFinite(slope));
    await assertRejects(
      () => microscope.derive({ temperature: 1 } as never),
      RangeError,
      '"temperature" is no knob',
    );
    const weight = { network: "policy" as const, tensor: "nose", index: 0 };
    await assertRejects(() => microscope.update({}, { weight }), RangeError, 'no tensor "nose"');
    const [post] = await lab.posts("test", { count: 1 });
    const seen = await (await lab.model("reward")).xray(post, post.summary);
    assertEquals(seen.tokens.map(({ text }) => text).join("").trim(), post.summary);
    assertEquals((await lab.gold(post, "")).score, -2);
    await assertRejects(
      () => lab.gold({ ...post, id: "mine" }, "x"),
      TypeError,
      "knows the facts of these alone",
    );
  });

  labTest("a notebook without time on the device cannot train", async ({ lab }) => {
    await assertRejects(() => lab.trainer("sft"), Error, "GPU time");
  }, { gpuSeconds: 0 });
}
