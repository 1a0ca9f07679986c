import { assert, assertEquals } from "deno-std/assert/mod.js";
import { openCheckpoint, requireTensors } from "../../lab/checkpoint_files.ts";
import { readQwen2Config } from "../../lab/qwen2.ts";
import { expectedTensors } from "../../lab/qwen2_config.ts";
import { diskFiles } from "../../headless/files.ts";
import { goldenPath } from "../lab/golden.ts";

async function make(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const script = new URL("../../headless/make-checkpoint.ts", import.meta.url).href;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", script, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

Deno.test("make-checkpoint writes what a folder's configuration asks for, with a tokenizer, and never over a model", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const files = diskFiles();
    const like = goldenPath("qwen2_tied"), out = `${folder}/deep/model`;
    const tokenizer = goldenPath("../../../public/demo");
    const first = await make(
      "--like",
      like,
      "--out",
      out,
      "--layers",
      "1",
      "--dtype",
      "F16",
      "--tokenizer",
      tokenizer,
    );
    assertEquals(first.code, 0, first.err);
    assert(/F16 weights/.test(first.out), first.out);
    assertEquals(await files.list(out), [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const config = { ...await readQwen2Config(files, like), layers: 1 };
    assertEquals(await readQwen2Config(files, out), config);
    const weights = await openCheckpoint(files, out);
    requireTensors(weights, expectedTensors(config));
    assertEquals(weights.dtype("model.norm.weight"), "F16");

    const before = await files.read(`${out}/model.safetensors`);
    for (
      const [args, ...words] of [
        [["--like", like, "--out", out], `${out} holds a model already`, "remove this one first"],
        [["--like", like], "needs --out FOLDER"],
        [["--like", "Qwen/Qwen9", "--out", `${folder}/x`], "Qwen/Qwen9", "Qwen/Qwen2.5-0.5B"],
        [["--like", like, "--out", `${folder}/x`, "--tokenizer", folder], "no tokenizer.json", "--tokenizer"],
        [["--like", like, "--out", `${folder}/x`, "--dtype", "I8"], "--dtype", "BF16"],
      ] as [string[], ...string[]][]
    ) {
      const { code, err } = await make(...args);
      assertEquals(code, 1);
      assert(words.every((word) => err.includes(word)) && err.trim().split("\n").length === 1, err);
    }
    assertEquals(await files.read(`${out}/model.safetensors`), before);
    assertEquals(await files.exists(`${folder}/x`), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
