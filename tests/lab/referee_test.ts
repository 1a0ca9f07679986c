/** The comparison of two engines, with referees whose faults are known. */
import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { loadQwen2 } from "../../lab/qwen2.ts";
import { compareOn, logitsOf, type Referee, writeBoth } from "../../lab/referee.ts";
import { loadTokenizer } from "../../lab/tokenizer.ts";
import { rate } from "../../lab/writing.ts";
import { gpuTest } from "../kernels/testing.ts";

const base = decodeURIComponent(new URL("../../public/demo/base", import.meta.url).pathname);
const text = "SUBREDDIT: r/relationships\n\nTITLE: Trouble with my boyfriend Ned";

gpuTest("logits, and a referee's faults in ids, logits, text and vocabulary", async (gpu) => {
  const files = diskFiles();
  const model = await loadQwen2(gpu, files, base, "base");
  const tokenizer = await loadTokenizer((path) => files.read(path), base);
  const ours = { gpu, model, tokenizer };
  const ids = tokenizer.encode(text);
  const { vocabulary } = model.config;
  const honest: Referee = {
    name: "ours again",
    encode: tokenizer.encode,
    logits: (ids) => logitsOf(gpu, model, ids),
    write: () => Promise.resolve([1, 2, 3]),
    dispose: () => Promise.resolve(),
  };

  const same = await compareOn(ours, honest, text);
  assertEquals([same.worst.gap, same.sameIds, same.positions.length], [0, true, ids.length]);
  // The gathered logprobs never saw these logits.
  const rated = await rate(gpu, model, ids.slice(0, 1), ids.slice(1));
  rated.forEach(({ logprob }, t) => {
    const { ours } = same.positions[t].logprob!;
    assert(Math.abs(ours - logprob) < 1e-4, `position ${t}: ${ours} and ${logprob}`);
  });

  const off: Referee = {
    ...honest,
    encode: (text) => tokenizer.encode(text).slice(1),
    async logits(ids) {
      const logits = await logitsOf(gpu, model, ids);
      logits[4 * vocabulary + 7] += 100;
      return logits;
    },
  };
  const found = await compareOn(ours, off, text);
  assertEquals(found.worst.position, 4);
  assert(Math.abs(found.worst.gap - 100) < 1e-3, `${found.worst.gap}`);
  assertEquals([found.positions[4].likeliest.theirs, found.sameIds], [7, false]);
  const broken: Referee = {
    ...honest,
    logits: async (ids) => (await logitsOf(gpu, model, ids)).fill(NaN, 9 * vocabulary),
  };
  assertEquals((await compareOn(ours, broken, text)).worst, { position: 9, gap: Infinity });

  const wrote = await writeBoth(ours, honest, text, 3);
  assertEquals(wrote.ids.theirs, [1, 2, 3]);
  assertEquals(wrote.differsAt, wrote.ids.ours.findIndex((id, t) => id !== t + 1));
  const echo: Referee = { ...honest, write: () => Promise.resolve(wrote.ids.ours) };
  assertEquals((await writeBoth(ours, echo, text, 3)).differsAt, null);
  const longer: Referee = { ...honest, write: () => Promise.resolve([...wrote.ids.ours, 5]) };
  assertEquals((await writeBoth(ours, longer, text, 3)).differsAt, wrote.ids.ours.length);

  const short: Referee = { ...honest, logits: () => Promise.resolve(new Float32Array(5)) };
  await assertRejects(() => compareOn(ours, short, text), RangeError, "another vocabulary");
  await assertRejects(() => compareOn(ours, honest, ""), RangeError, "0 tokens");
  await assertRejects(() => writeBoth(ours, honest, text, 1e6), RangeError, "are asked for");
  model.parameters.drop();
});
