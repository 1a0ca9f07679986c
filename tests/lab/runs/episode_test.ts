/** Episodes: found in a large file without reading it all, and every lane explained by the numbers that it comes from. */
import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { memoryFiles } from "../../../lab/bytes.ts";
import { type Episode, type EpisodeSettings, figure, isEpisode, lanesOf } from "../../../lab/runs/episode.ts";
import { episodeFile } from "../../../lab/runs/episode_file.ts";
import { syntheticRun } from "./synthetic.ts";

const settings: EpisodeSettings = {
  clipRange: 0.2,
  beta: 0.05,
  gamma: 1,
  lambda: 0.95,
  klEstimator: "k1",
  whitenRewards: false,
};

Deno.test("the episodes of any update are found, with few bytes read", async () => {
  const text = syntheticRun({ updates: 700 })["episodes/ppo.jsonl"];
  const plain = text.trimEnd().split("\n").map((line) => JSON.parse(line) as Episode);
  const memory = memoryFiles({ e: text + '{"update":701,"que' });
  let read = 0;
  const files = {
    ...memory,
    readRange: (path: string, from: number, to: number) => {
      read += to - from;
      return memory.readRange(path, from, to);
    },
  };
  const file = episodeFile(files, "e");
  assertEquals(await file.range(), [1, 700]);
  for (const update of [1, 2, 350, 351, 699, 700, 17, 600]) {
    assertEquals(await file.at(update), plain.filter((one) => one.update === update), `update ${update}`);
  }
  assert(read < text.length, `${read} bytes of ${text.length}`);
  for (const update of [0, 701, 9999]) assertEquals(await file.at(update), []);
  assertEquals(await episodeFile(memoryFiles(), "e").range(), undefined);
  assertEquals(await episodeFile(memoryFiles({ e: "no JSON\n".repeat(9) }), "e").range(), undefined);
});

Deno.test("updates with gaps, and a file that grows and is cut back", async () => {
  const lines = [2, 2, 4, 8, 8, 8].map((update) => {
    const [line] = syntheticRun({ updates: 1 })["episodes/ppo.jsonl"].split("\n");
    return line.replace('"update":1,', `"update":${update},`) + "\n";
  });
  const files = memoryFiles({ e: lines.slice(0, 3).join("") });
  const file = episodeFile(files, "e");
  assertEquals([await file.range(), (await file.at(2)).length, await file.at(3)], [[2, 4], 2, []]);
  await files.append("e", new TextEncoder().encode(lines.slice(3).join("")));
  assertEquals([await file.range(), (await file.at(8)).length], [[2, 8], 3]);
  await files.truncate("e", lines[0].length);
  assertEquals([await file.range(), (await file.at(2)).length, await file.at(8)], [[2, 2], 1, []]);
});

Deno.test("lanes are what their formulas say", () => {
  const [line] = syntheticRun({ updates: 3, seed: 5 })["episodes/ppo.jsonl"].split("\n").slice(8);
  const episode = JSON.parse(line) as Episode;
  assert(isEpisode(episode));
  const lanes = new Map(lanesOf(episode, settings).map((lane) => [lane.name, lane]));
  const last = episode.response.length - 1;
  for (let t = 0; t <= last; t++) {
    assertAlmostEquals(lanes.get("KL")!.values[t], episode.logprob[t] - episode.reference[t], 1e-12);
    assertAlmostEquals(lanes.get("reward")!.values[t], -0.05 * lanes.get("KL")!.values[t], 1e-9);
    assertAlmostEquals(
      lanes.get("ratio")!.values[t],
      Math.exp(episode.updated![t] - episode.logprob[t]),
      1e-12,
    );
  }
  assertEquals(
    lanes.get("reward")!.formula(1),
    `reward = −β · KL = −0.05 · ${
      ((kl) => kl < 0 ? `(${figure(kl)})` : figure(kl))(episode.logprob[1] - episode.reference[1])
    } = ${figure(episode.reward[1])}`,
  );
  assertEquals(
    lanes.get("reward")!.formula(last + 1),
    `reward = score = ${figure(episode.score)}, paid one slot behind the last token`,
  );
  assertEquals(lanes.get("ratio")!.band, [0.8, 1.2]);
  // A run of an earlier version has no ratio.
  const { updated: _, ...before } = episode;
  assert(isEpisode(before) && !lanesOf(before, settings).some(({ name }) => name === "ratio"));
  // The score at the last token is told apart from the price of KL.
  const paid = { ...episode, reward: episode.reward.map((x, t) => t === last ? x + 2 : x) };
  assert(lanesOf(paid, settings).find(({ name }) => name === "reward")!.formula(last).includes("+ score"));
});

Deno.test("a ratio that left its band in the direction of its advantage is clipped, another is not", () => {
  const [line] = syntheticRun({ updates: 1 })["episodes/ppo.jsonl"].split("\n");
  const episode = JSON.parse(line) as Episode;
  const ratio = (whitened: number, change: number) => {
    const one = { ...episode, whitened: episode.whitened.map(() => whitened) };
    one.updated = episode.logprob.map((x) => x + change);
    return lanesOf(one, settings).find(({ name }) => name === "ratio")!.formula(0);
  };
  assert(ratio(1, 0.5).includes("clipped") && ratio(-1, -0.5).includes("clipped"));
  assert(!ratio(-1, 0.5).includes("clipped") && !ratio(1, 0.1).includes("clipped"));
});

Deno.test("what is no episode is refused", () => {
  const [line] = syntheticRun({ updates: 1 })["episodes/ppo.jsonl"].split("\n");
  const episode = JSON.parse(line) as Record<string, unknown>;
  assert(isEpisode(episode));
  for (const name of Object.keys(episode)) {
    if (["updated", "beta"].includes(name)) continue;
    const { [name]: _, ...without } = episode;
    assert(!isEpisode(without), name);
    assert(!isEpisode({ ...episode, [name]: "x" }), name);
  }
  assert(
    !isEpisode({ ...episode, logprob: [1] }) && !isEpisode(null) && !isEpisode({ ...episode, updated: [1] }),
  );
});

Deno.test("figures have three digits and a true minus sign", () => {
  assertEquals([0, -1.2345, 0.0001234, 12345.6, NaN].map(figure), ["0", "−1.23", "1.2e−4", "12346", "–"]);
});
