import { assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import { DamagedFileError, type Files, memoryFiles, readJson, writeJson } from "../../lab/bytes.ts";
import { openCheckpoint, requireTensors, writeCheckpoint } from "../../lab/checkpoint_files.ts";
import {
  expectedTensors,
  parseQwen2Config,
  type Qwen2Config,
  qwen2ConfigJson,
} from "../../lab/qwen2_config.ts";
import { safetensorsBytes } from "../../lab/safetensors.ts";
import { feedDamaged } from "./damage.ts";
import { floatsOf, wholeTensor } from "./golden.ts";

const CONFIG: Qwen2Config = {
  head: "language",
  vocabulary: 37,
  hiddenSize: 24,
  layers: 2,
  queryHeads: 3,
  keyValueHeads: 1,
  headDim: 8,
  feedForward: 20,
  tiedHead: true,
  attentionBias: true,
  ropeTheta: 1e4,
  rmsNormEps: 1e-6,
  maxPositions: 64,
  eosTokenId: 36,
  bosTokenId: null,
  padTokenId: 35,
  initializerRange: 0.02,
};

/** Weights that BF16 holds exactly, different in every tensor. */
function weights(config: Qwen2Config) {
  return expectedTensors(config).map(({ name, shape }, n) => ({
    name,
    shape,
    read: () => Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => (i % 100) + n),
  }));
}

Deno.test("a model comes back from one file and from shards, in each dtype, and matches its configuration", async () => {
  for (const dtype of ["F32", "BF16", "F16"] as const) {
    for (const maxShardBytes of [undefined, 2000, 1]) {
      const files = memoryFiles();
      await writeCheckpoint(files, "m", qwen2ConfigJson(CONFIG, dtype), weights(CONFIG), {
        dtype,
        maxShardBytes,
      });
      const names = await files.list("m");
      const shards = names.filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name));
      assertEquals(names.includes("model.safetensors"), maxShardBytes === undefined);
      if (maxShardBytes === 1) assertEquals(shards.length, expectedTensors(CONFIG).length);
      if (maxShardBytes === 2000) assertEquals(shards.length > 1 && shards.length < 20, true);

      const config = parseQwen2Config("m/config.json", await files.read("m/config.json"));
      assertEquals(config, CONFIG);
      const opened = await openCheckpoint(files, "m");
      requireTensors(opened, expectedTensors(config));
      for (const { name, shape, read } of weights(CONFIG)) {
        assertEquals(opened.dtype(name), dtype);
        assertEquals(await wholeTensor(opened, name), read());
        const width = read().length / shape[0];
        assertEquals(floatsOf(await opened.read(name, width, 3 * width)), read().slice(width, 3 * width));
      }
    }
  }
});

Deno.test("the index says how many bytes there are and where each tensor is", async () => {
  const files = memoryFiles();
  await writeCheckpoint(files, "m", {}, weights(CONFIG), { dtype: "BF16", maxShardBytes: 1500 });
  const index = await readJson(files, "m/model.safetensors.index.json") as {
    metadata: { total_size: number };
    weight_map: Record<string, string>;
  };
  const elements = expectedTensors(CONFIG).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
  assertEquals(index.metadata.total_size, 2 * elements);
  assertEquals(Object.keys(index.weight_map), expectedTensors(CONFIG).map(({ name }) => name).sort());
});

Deno.test("weights are asked for one at a time, and the file that makes a model comes last", async () => {
  const files = memoryFiles();
  let held = 0, most = 0;
  const order: string[] = [];
  const counted: Files = {
    ...files,
    writeAtomic: (path, content) => (order.push(path), files.writeAtomic(path, content)),
  };
  const lazy = weights(CONFIG).map((weight) => ({
    ...weight,
    read: async () => {
      most = Math.max(most, ++held);
      await Promise.resolve();
      held--;
      return weight.read();
    },
  }));
  await writeCheckpoint(counted, "m", {}, lazy, { maxShardBytes: 4000 });
  assertEquals(most, 1);
  assertEquals(order[0], "m/config.json");
  assertEquals(order.at(-1), "m/model.safetensors.index.json");
  await assertRejects(() => writeCheckpoint(files, "m", {}, lazy), Error, "m holds a model already");
});

Deno.test("tensors that are missing, misshapen or unknown are named", async () => {
  const files = memoryFiles();
  const some = weights(CONFIG).filter(({ name }) => name !== "model.norm.weight");
  some[0] = { ...some[0], shape: [24, 37] };
  some.push({ name: "score.bias", shape: [1], read: () => Float32Array.of(1) });
  await writeCheckpoint(files, "m", {}, some);
  const opened = await openCheckpoint(files, "m");
  const error = assertThrows(() => requireTensors(opened, expectedTensors(CONFIG)), DamagedFileError);
  assertEquals(
    error.message,
    'm: the weights do not match config.json: "model.embed_tokens.weight" has shape [24,37] instead of [37,24], ' +
      '"model.norm.weight" is missing, "score.bias" is not part of such a model.',
  );
  const rest = expectedTensors(CONFIG).filter(({ name }) => name !== "model.norm.weight").slice(1);
  requireTensors(opened, rest, ["score.bias", "model.embed_tokens.weight"]);
  await assertRejects(
    () => Promise.resolve().then(() => opened.read("model.norm.weight", 0, 1)),
    DamagedFileError,
    'm has no tensor "model.norm.weight"',
  );
  assertThrows(
    () => requireTensors(opened, expectedTensors({ ...CONFIG, hiddenSize: 48, layers: 3 })),
    DamagedFileError,
    "more)",
  );
});

Deno.test("an index that lies is reported", async () => {
  const shard = async (...names: string[]) => {
    const files = memoryFiles();
    const plans = names.map((name) => ({ name, dtype: "F32" as const, shape: [1] }));
    await files.writeAtomic("f", safetensorsBytes(plans, () => Float32Array.of(1)));
    return await files.read("f");
  };
  const open = async (map: unknown, ...shards: string[][]) => {
    const files = memoryFiles({ "m/config.json": "{}" });
    for (const [i, names] of shards.entries()) {
      await files.writeAtomic(`m/s${i}.safetensors`, await shard(...names));
    }
    await writeJson(files, "m/model.safetensors.index.json", map);
    return await openCheckpoint(files, "m");
  };
  const rejects = async (message: string, ...args: Parameters<typeof open>) => {
    await assertRejects(() => open(...args), DamagedFileError, message);
  };
  const s0 = "s0.safetensors", s1 = "s1.safetensors";
  assertEquals((await open({ weight_map: { a: s0, b: s1 } }, ["a"], ["b"])).names, ["a", "b"]);
  await rejects("has no weight_map", {}, ["a"]);
  await rejects("has no weight_map", { weight_map: [] }, ["a"]);
  await rejects("has no weight_map", null, ["a"]);
  await rejects("s1.safetensors is missing", { weight_map: { a: s0, b: s1 } }, ["a"]);
  await rejects('has no tensor "b", though', { weight_map: { a: s0, b: s0 } }, ["a"]);
  await rejects('holds tensor "c", which', { weight_map: { a: s0 } }, ["a", "c"]);
  await rejects('holds tensor "a", which', { weight_map: { a: s0, b: s1 } }, ["a"], ["a", "b"]);
  await rejects("is not the name of a safetensors file", { weight_map: { a: "../m/s0.safetensors" } }, ["a"]);
  await rejects("is not the name of a safetensors file", { weight_map: { a: 1 } }, ["a"]);
  await assertRejects(
    () => openCheckpoint(memoryFiles({ "m/x": "" }), "m"),
    DamagedFileError,
    "m holds no model",
  );
});

Deno.test("a thousand damaged shard indices end in a named error, or in the same weights", async () => {
  const files = memoryFiles();
  await writeCheckpoint(files, "m", qwen2ConfigJson(CONFIG), weights(CONFIG), { maxShardBytes: 9000 });
  const path = "m/model.safetensors.index.json";
  const sound = new TextDecoder().decode(await files.read(path));
  const shards = new Set(Object.values(JSON.parse(sound).weight_map));
  assertEquals(shards.size > 1, true);
  await feedDamaged(sound, async (bytes) => {
    await files.writeAtomic(path, bytes);
    const opened = await openCheckpoint(files, "m");
    // A shard that is not mentioned at all is noticed by its tensors.
    if (new Set(Object.values(JSON.parse(new TextDecoder().decode(bytes)).weight_map)).size < shards.size) {
      assertThrows(() => requireTensors(opened, expectedTensors(CONFIG)), DamagedFileError, "is missing");
      return;
    }
    assertEquals(opened.names, expectedTensors(CONFIG).map(({ name }) => name).sort());
    for (const { name, shape, read } of weights(CONFIG).slice(0, 3)) {
      assertEquals(opened.shape(name), shape);
      assertEquals(await wholeTensor(opened, name), read());
    }
  }, { names: path });
});
