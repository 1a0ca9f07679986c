/** What the tests of the Hub share: repositories, and a server and an empty cache for each test. */
import { assert, assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import type { fetchModel } from "../../headless/hub.ts";
import { HubError } from "../../headless/hub_errors.ts";
import { hubSettings } from "../../headless/hub_settings.ts";
import { goodToken, type HubRepository, type HubServer, serveHub } from "./hub_server.ts";

export const text = (value: string) => new TextEncoder().encode(value);
/** Bytes that look like no others. */
export const noise = (size: number, seed: number) =>
  Uint8Array.from({ length: size }, (_, i) => (i * 2654435761 + seed * 40503 + (i >> 8)) >>> 13);
export const first = "1".repeat(40), second = "2".repeat(40);

const small = {
  "config.json": text('{"model_type":"qwen2"}'),
  "tokenizer.json": text('{"version":"1.0"}'),
  "tokenizer_config.json": text("{}"),
};
export const weights = noise(150_000, 1);
export const model: HubRepository = {
  refs: { main: first, "v1.0": first },
  commits: {
    [first]: {
      files: {
        ...small,
        "README.md": text("# Model"),
        "generation_config.json": text('{"eos_token_id":0}'),
        "model.safetensors": weights,
        "onnx/model.onnx": noise(500, 9),
        "pytorch_model.bin": noise(500, 8),
      },
      lfs: ["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"],
    },
    [second]: {
      files: {
        ...small,
        "config.json": text('{"model_type":"qwen2","newer":1}'),
        "model.safetensors": weights,
      },
      lfs: ["model.safetensors"],
    },
  },
};
export const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const index = (map: Record<string, string>) => text(JSON.stringify({ metadata: {}, weight_map: map }));
export const sharded: HubRepository = {
  refs: { main: first },
  commits: {
    [first]: {
      files: {
        ...small,
        "model.safetensors.index.json": index({ a: shards[0], b: shards[1], c: shards[1] }),
        [shards[0]]: noise(7000, 2),
        [shards[1]]: noise(9000, 3),
        "model-00003-of-00003.safetensors": noise(10, 4),
      },
      lfs: shards,
    },
  },
};
export const posts: HubRepository = {
  refs: { main: first, "refs/convert/parquet": second },
  commits: {
    [first]: {
      files: {
        "README.md": text("# Posts"),
        "data/train-00000-of-00002-a0b1.parquet": noise(20_000, 5),
        "data/train-00001-of-00002-a0b1.parquet": noise(20_000, 6),
        "data/validation-00000-of-00001-a0b1.parquet": noise(3000, 7),
      },
      lfs: [
        "data/train-00000-of-00002-a0b1.parquet",
        "data/train-00001-of-00002-a0b1.parquet",
        "data/validation-00000-of-00001-a0b1.parquet",
      ],
    },
    [second]: { files: { "comparisons/train/0000.parquet": noise(100, 8) }, lfs: [] },
  },
};
const script: HubRepository = {
  refs: { main: first },
  commits: { [first]: { files: { "README.md": text("x"), "scripted.py": text("import datasets") } } },
};
const repositories = {
  "models/Qwen/Tiny-0.5B": model,
  "models/Qwen/Sharded": sharded,
  "models/Qwen/Gated": { ...model, gated: true },
  "models/Qwen/Private": { ...model, private: goodToken },
  "models/Qwen/Old": {
    refs: { main: first },
    commits: { [first]: { files: { ...small, "pytorch_model.bin": noise(9, 9) } } },
  },
  "models/Qwen/Blank": {
    refs: { main: first },
    commits: { [first]: { files: { "confg.json": text("{}") } } },
  },
  "models/Qwen/Astray": {
    refs: { main: first },
    commits: { [first]: { files: { ...small, "model.safetensors.index.json": index({ a: "../../x" }) } } },
  },
  "datasets/vwxyzjn/posts": posts,
  "datasets/openai/scripted": script,
};

interface Place {
  server: HubServer;
  home: string;
  notes: string[];
  waits: number[];
  /** Bytes reported to a progress stage, in order. */
  steps: number[];
  /** Options with the environment's variables set as given. */
  options: (env?: Record<string, string>, pinned?: string) => Promise<Parameters<typeof fetchModel>[1]>;
}

/** A test with a Hub and an empty cache of its own. */
export function hubTest(name: string, body: (place: Place, t: Deno.TestContext) => Promise<void>): void {
  Deno.test(name, async (t) => {
    const server = serveHub(repositories);
    const home = await Deno.makeTempDir({ prefix: "precis-hub-" });
    const notes: string[] = [], waits: number[] = [], steps: number[] = [];
    const note = (sentence: string) => void notes.push(sentence);
    const options: Place["options"] = async (env = {}, pinned) => {
      const variables: Record<string, string> = { HF_HOME: home, HF_ENDPOINT: server.endpoint, ...env };
      return {
        progress: { note, stage: () => ({ step: (n) => void steps.push(n), note, done() {} }) },
        settings: await hubSettings((name) => variables[name]),
        patience: {
          tries: 4,
          silence: 2000,
          wait: (milliseconds) => {
            waits.push(milliseconds);
            return Promise.resolve();
          },
        },
        pinned,
      };
    };
    try {
      await body({ server, home, notes, waits, steps, options }, t);
    } finally {
      await server.stop();
      await Deno.remove(home, { recursive: true });
    }
  });
}

/** One sentence, of this fault, with these words. */
export async function refuses(
  work: () => Promise<unknown>,
  fault: HubError["fault"],
  ...words: (string | RegExp)[]
): Promise<void> {
  const { message, fault: found } = await assertRejects(work, HubError);
  assertEquals(found, fault, message);
  assertMatch(message, /^\S[^\n]*[^.]\.$/);
  for (const word of words) {
    assert(
      typeof word === "string" ? message.includes(word) : word.test(message),
      `"${message}" lacks "${word}"`,
    );
  }
}
