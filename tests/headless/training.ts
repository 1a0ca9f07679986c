/** What the tests of `deno task train` share: a tiny base model and data set on the disk, and the command as a child process. */
import { assert, assertEquals } from "deno-std/assert/mod.js";
import { diskFiles } from "../../headless/files.ts";
import { joinPath } from "../../lab/bytes.ts";
import { writeCheckpoint } from "../../lab/checkpoint_files.ts";
import { loadDemoData } from "../../lab/dataset.ts";
import { demoBaseConfig } from "../../lab/demo/pretrain.ts";
import { random } from "../../lab/demo/random.ts";
import { expectedTensors, qwen2ConfigJson } from "../../lab/qwen2_config.ts";
import { standardNormal } from "../../lab/training.ts";
import { testRuntime } from "../kernels/testing.ts";

const root = decodeURIComponent(new URL("../..", import.meta.url).pathname);
const demo = joinPath(root, "public/demo");

/** Folders of a tiny run. */
export interface Ground {
  folder: string;
  model: string;
  data: string;
}

/** Makes a random base model of two layers and 16 training posts and pairs, in the published formats. */
export async function ground(): Promise<Ground> {
  const files = diskFiles();
  const folder = await Deno.makeTempDir({ prefix: "precis-train-" });
  const model = joinPath(folder, "model"), data = joinPath(folder, "data");
  const shape = {
    ...demoBaseConfig,
    hiddenSize: 16,
    headDim: 8,
    queryHeads: 2,
    keyValueHeads: 1,
    layers: 2,
    feedForward: 24,
  };
  const draw = standardNormal(random(5));
  await writeCheckpoint(
    files,
    model,
    qwen2ConfigJson(shape, "F32"),
    expectedTensors(shape).map(({ name, shape }) => ({
      name,
      shape,
      read: () =>
        Float32Array.from(
          { length: shape.reduce((size, extent) => size * extent, 1) },
          () => /norm/.test(name) ? 1 : 0.02 * draw(),
        ),
    })),
  );
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(joinPath(demo, name), joinPath(model, name));
  }
  const { posts, pairs } = await loadDemoData(files, demo);
  const lines = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row) + "\n").join("");
  await Deno.mkdir(joinPath(data, "comparisons"), { recursive: true });
  await Deno.writeTextFile(joinPath(data, "train.jsonl"), lines(posts.train.slice(0, 16)));
  await Deno.writeTextFile(joinPath(data, "valid.jsonl"), lines(posts.validation.slice(0, 4)));
  await Deno.writeTextFile(joinPath(data, "test.jsonl"), lines(posts.test.slice(0, 4)));
  const compared = [...pairs.train.slice(0, 16), ...pairs.valid1.slice(0, 2), ...pairs.valid2.slice(0, 2)];
  await Deno.writeTextFile(
    joinPath(data, "comparisons", "batch1.json"),
    lines(
      compared.map(({ source, summaries, choice, split }) => ({ info: source, summaries, choice, split })),
    ),
  );
  return { folder, model, data };
}

/** Flags of a run of a few steps on this ground, which a later flag may change. */
export function tiny(
  { model, data }: Pick<Ground, "model" | "data">,
  out: string,
  ...more: string[]
): string[] {
  const flags = "--preset demo --sft.batch 4 --sft.evalRows 2 --reward.batch 4 --reward.evalRows 2 " +
    "--reward.normaliseRows 4 --ppo.batch 4 --ppo.episodes 12 --ppo.epochs 2 --ppo.responseLength 8 " +
    "--ppo.sampleEvery 2 --ppo.sampleRows 2 --evaluate.posts 4 --evaluate.bestOf 2 --evaluate.bestOfPosts 2 " +
    `--checkpoints.every 2 --gpu ${testRuntime}`;
  return [...flags.split(" "), "--model", model, "--data", data, "--out", out, ...more];
}

/** How a command went. */
export interface Outcome {
  code: number;
  out: string;
  err: string;
}

/**
 * Runs `deno task train`.
 * @param born is given the process at its start
 * @param watch is shown all of the standard output so far whenever there is more
 */
export async function train(
  args: readonly string[],
  { env = {}, born, watch }: {
    env?: Record<string, string>;
    born?: (child: Deno.ChildProcess) => unknown;
    watch?: (out: string, child: Deno.ChildProcess) => unknown;
  } = {},
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", joinPath(root, "headless/train.ts"), ...args],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  born?.(child);
  let out = "";
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      out += text;
      await watch?.(out, child);
    }
  })();
  const err = await new Response(child.stderr).text();
  await reading;
  const { code, signal } = await child.status;
  return { code: signal === "SIGKILL" ? -9 : code, out, err };
}

/** One sentence that holds these words, a failure code, and no stack trace. */
export function assertExplained({ code, err }: Outcome, ...words: string[]): void {
  assertEquals(code, 1, err);
  const lines = err.trim().split("\n");
  const last = lines.at(-1)!;
  assertEquals(lines.filter((line) => line.startsWith("error: ")).length, 1, err);
  assert(last.startsWith("error: "), err);
  assert(!/^\s+at .*\.ts:\d/m.test(err), err);
  for (const word of words) assert(last.includes(word), `"${last}" does not say "${word}"`);
}

/** SHA-256 of what a run must reproduce to the bit. */
export async function fingerprint(out: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (
    const path of [
      ...["sft", "reward", "ppo", "critic"].map((name) => `models/${name}/model.safetensors`),
      "metrics.jsonl",
      "samples.jsonl",
      "episodes/ppo.jsonl",
    ]
  ) {
    const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(joinPath(out, path)));
    found[path] = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return found;
}
