/** The model card of an exported folder: README.md with the front matter that the Hugging Face Hub reads. */
import { type Config, differences } from "../config.ts";
import { fixed, groupThousands, percent } from "../format.ts";
import {
  type AuthorFigures,
  authorName,
  type Evaluation,
  type Match,
  type Mean,
  type RunRecord,
} from "../report/data.ts";
import { judgeName } from "../report/words.ts";
import type { ExportDtype, ExportedModel, Format } from "./model_folder.ts";

/** Which of a run's models, or "model" for a folder of no run. */
export type ModelRole = "ppo" | "sft" | "reward" | "model";

/** What a card tells. */
export interface CardFacts {
  /** "owner/name" on the Hub, or the folder's name. */
  name: string;
  role: ModelRole;
  to: Format;
  dtype: ExportDtype;
  model: ExportedModel;
  /** On the Hub; undefined for the demo's own and where it is not known. */
  baseModel?: string;
  /** Of the model: an identifier of the Hub's list, "other" where it is not known. */
  license: string;
  run?: { config: Config; record: RunRecord; evaluation?: Evaluation; reward?: { accuracy: number } };
}

/** The Hub's base model and license that a configuration's `model` stands for, as far as its name tells. */
export function originOf(model: string): { baseModel?: string; license: string } {
  if (model === "demo") return { license: "mit" };
  const name = /(Qwen2(?:\.5)?-(?:0\.5B|1\.5B|7B|14B|32B)(?:-Instruct)?)(?:@[^/]*)?\/*$/.exec(model)?.[1];
  // The 3B and 72B models have licenses of their own and are left to whoever exports them.
  return name ? { baseModel: `Qwen/${name}`, license: "apache-2.0" } : { license: "other" };
}

/** The text of README.md. */
export function modelCard(facts: CardFacts): string {
  const parts = [
    frontMatter(facts),
    `# ${facts.name}`,
    introduction(facts),
    ...figures(facts),
    ...recipe(facts),
    "## Use",
    facts.model.score ? useOfReward(facts) : useOfPolicy(facts),
    "## Licence",
    licence(facts),
    "## Citation",
    citation(facts),
  ];
  return parts.join("\n\n") + "\n";
}

function frontMatter({ role, to, baseModel, license, model, run }: CardFacts): string {
  const tags = [
    "precis",
    "rlhf",
    ...(role === "model" ? [] : [role === "reward" ? "reward-model" : role]),
    "summarization",
    "tldr",
    ...(to === "onnx" ? ["onnx"] : []),
    ...(to === "onnx" && !model.score ? ["transformers.js"] : []),
  ];
  const data = run ? hubDatasets(run.config) : [];
  const library = to === "huggingface" ? "transformers" : model.score ? "onnx" : "transformers.js";
  return [
    "---",
    `library_name: ${library}`,
    `pipeline_tag: ${model.score ? "text-classification" : "text-generation"}`,
    `license: ${JSON.stringify(license)}`,
    ...(baseModel ? [`base_model: ${JSON.stringify(baseModel)}`, "base_model_relation: finetune"] : []),
    ...(data.length > 0 ? ["datasets:", ...data.map((name) => `- ${JSON.stringify(name)}`)] : []),
    "language:",
    "- en",
    "tags:",
    ...tags.map((tag) => `- ${tag}`),
    "---",
  ].join("\n");
}

function introduction({ role, to, dtype, model, baseModel, run }: CardFacts): string {
  const base = baseModel
    ? `[${baseModel}](https://huggingface.co/${baseModel})`
    : run?.config.model === "demo"
    ? "the small base model of Précis' demo"
    : "a Qwen2 base model";
  const what = {
    ppo:
      `A summarisation policy: ${base}, fine-tuned on reference summaries (SFT) and then trained with PPO ` +
      "against a reward model of human preferences.",
    sft:
      `A summarisation policy: ${base}, fine-tuned on reference summaries (SFT). In PPO it is the reference ` +
      "policy that the KL penalty is measured from.",
    reward:
      `A reward model for summaries: ${base}, fine-tuned on reference summaries and then on comparisons ` +
      "of summaries, with one score in place of the language head.",
    model: model.score
      ? "A Qwen2 reward model with one score in place of the language head."
      : "A Qwen2 language model.",
  }[role];
  const size = `${groupThousands(model.parameters)} parameters`;
  const format = to === "onnx" ? `ONNX (opset 17) in ${dtype}` : `safetensors in ${dtype}`;
  return `${what} ${size}, ${format}. Made with Précis, an RLHF lab on WebGPU that reproduces the TL;DR ` +
    "summarisation recipe of [Learning to summarize from human feedback](https://arxiv.org/abs/2009.01325) in the form of " +
    "[The N+ Implementation Details of RLHF with PPO](https://arxiv.org/abs/2403.17031).";
}

// ---- figures ----

function figures({ role, run }: CardFacts): string[] {
  const evaluation = run?.evaluation;
  const parts: string[] = [];
  if (role === "reward" && run?.reward) {
    parts.push(`Accuracy on held-out comparisons: ${percent(run.reward.accuracy, 1)}.`);
  }
  if (role === "reward" && evaluation?.reward) {
    const rows = evaluation.reward.accuracy.map(({ by, name, accuracy }) => [
      by === "all" ? "all" : plain(`${by} ${name}`),
      `${percent(accuracy.rate, 1)} (${percent(accuracy.lower, 1)} to ${percent(accuracy.upper, 1)})`,
      groupThousands(accuracy.count),
    ]);
    parts.push(table(["Held-out pairs", "Accuracy (95 % interval)", "Pairs"], rows));
  }
  if ((role === "ppo" || role === "sft") && evaluation) {
    // A policy's card tells of what came before it, not of what came after.
    const shown = evaluation.authors.filter(({ author }) => role === "ppo" || author !== "ppo");
    const matches = evaluation.matches.filter(({ ours, theirs }) =>
      role === "ppo" || (ours !== "ppo" && theirs !== "ppo")
    );
    parts.push(
      `Summaries of ${
        groupThousands(evaluation.posts)
      } ${evaluation.split} posts at temperature ${evaluation.temperature}; ` +
        "means, with 95 % intervals where there are any. KL is to the SFT policy, in nats a response.",
      authorsTable(shown),
      ...(matches.length > 0 ? [matches.map((match) => `- ${matchLine(match)}`).join("\n")] : []),
    );
  }
  for (const note of parts.length > 0 ? evaluation?.notes ?? [] : []) parts.push(plain(note));
  return parts.length > 0 ? ["## Figures", ...parts] : [];
}

function authorsTable(authors: readonly AuthorFigures[]): string {
  const value = (mean: Mean | undefined, decimals: number) => {
    if (!mean) return "";
    const { lower, upper } = mean;
    const half = lower === undefined || upper === undefined
      ? ""
      : ` ± ${fixed((upper - lower) / 2, decimals)}`;
    return fixed(mean.mean, decimals) + half;
  };
  const number = (figure: number | undefined, decimals: number) =>
    figure === undefined ? "" : fixed(figure, decimals);
  const rows = authors.map((one) => [
    authorName(one.author),
    value(one.gold, 2),
    value(one.reward, 2),
    value(one.length, 1),
    one.eosRate === undefined ? "" : percent(one.eosRate),
    value(one.kl, 1),
    number(one.rouge1, 3),
    number(one.rougeL, 3),
  ]);
  const heads = ["", "Gold score", "Reward", "Tokens", "Ended", "KL", "ROUGE-1", "ROUGE-L"];
  const used = heads.map((_, c) => c).filter((c) => c === 0 || rows.some((row) => row[c] !== ""));
  return table(used.map((c) => heads[c]), rows.map((row) => used.map((c) => row[c] || "–")));
}

function matchLine({ ours, theirs, judge, raw, lengthControlled }: Match): string {
  const equal = lengthControlled ? `; at equal length ${percent(lengthControlled.rate)}` : "";
  return `${authorName(ours)} preferred to ${authorName(theirs)} by ${plain(judgeName(judge))}: ${
    percent(raw.rate)
  } ` +
    `(${percent(raw.lower)} to ${percent(raw.upper)}, ${groupThousands(raw.count)} posts${equal})`;
}

/** A text from a run's files as one line without markup. */
function plain(text: string): string {
  return text.replace(/\s+/g, " ").replace(/[<`*_[\]\\]/g, "\\$&").trim();
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heads), line(heads.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

// ---- recipe ----

function recipe({ role, run }: CardFacts): string[] {
  if (!run) return [];
  const { config, record } = run;
  const { sft, reward, ppo } = config;
  const passes = (count: number) => count === 1 ? "one pass" : `${count} passes`;
  const lines = [
    `- Data: ${dataSentence(config)}`,
    `- SFT: AdamW, learning rate ${sft.learningRate}, batches of ${sft.batch}, ${passes(sft.epochs)}.`,
  ];
  if (role !== "sft") {
    lines.push(
      `- Reward model: from the SFT policy, learning rate ${reward.learningRate}, batches of ${reward.batch} pairs, ` +
        `${passes(reward.epochs)}${
          reward.normalise ? "; scores shifted so that reference summaries average 0" : ""
        }.`,
    );
  }
  if (role === "ppo") {
    lines.push(
      `- PPO: ${
        groupThousands(ppo.episodes)
      } episodes in batches of ${ppo.batch}, ${ppo.epochs} epochs each, learning rate ` +
        `${ppo.learningRate}, KL coefficient ${ppo.klCoef}, rollouts at temperature ${ppo.temperature}.`,
    );
  }
  const stages = { sft: ["sft"], reward: ["sft", "reward"], ppo: ["sft", "reward", "ppo"], model: [] }[role];
  const changed = differences(config).filter(({ path }) =>
    ["preprocess", ...stages].includes(path.split(".")[0]) && !/\.(microTokens|eval\w+|sample\w+)$/.test(path)
  );
  const presetNote = changed.length === 0
    ? "The configuration is that of the published recipe."
    : `The configuration differs from the published recipe in ${
      changed.map(({ path, value }) => `\`${path}\` (${plain(String(value))})`).join(", ")
    }.`;
  const versions = Object.entries(record.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return [
    "## Recipe",
    lines.join("\n"),
    presetNote,
    `Seed ${config.seed}; started ${record.startedAt.slice(0, 10)} on ${plain(record.device.adapter)}; ${
      plain(versions)
    }.`,
  ];
}

function dataSentence(config: Config): string {
  if (config.data === "demo") {
    return "the synthetic posts and comparisons of Précis' demo (generated, no real people).";
  }
  // A folder's path is nobody's business but its owner's.
  const named = hubDatasets(config);
  return "Reddit TL;DR posts with their summaries, and OpenAI's human comparisons of summaries" +
    `${named.length > 0 ? ` (${named.join(", ")})` : ""}.`;
}

/** The data sets of the Hub that a configuration names. */
function hubDatasets({ data, comparisons }: Config): string[] {
  return [data, comparisons].flatMap((name) =>
    /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:@.*)?$/.exec(name)?.[1] ?? []
  );
}

// ---- use ----

const template = "SUBREDDIT: r/{subreddit}\\n\\nTITLE: {title}\\n\\nPOST: {post}\\n\\nTL;DR:";

function useOfPolicy({ name, to, dtype, model, run }: CardFacts): string {
  const tokens = run?.config.preprocess.responseTokens ?? 64;
  const prompt =
    "The prompt is the post in this template, with no space at its end; the summary that follows starts with a " +
    "space and ends with `<|endoftext|>`.";
  const padding =
    `Batches are padded on the left with \`<|pad|>\` (id ${model.padId}), which is not the end of a response. ` +
    `generation_config.json suppresses the ids from ${model.padId} on, whose rows of the embedding were never trained.`;
  const code = to === "huggingface"
    ? `\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("${name}")
model = AutoModelForCausalLM.from_pretrained("${name}", dtype="auto")

query = "${
      template.replaceAll("{subreddit}", "relationships").replace("{title}", "…").replace("{post}", "…")
    }"
inputs = tokenizer(query, return_tensors="pt")
output = model.generate(**inputs, max_new_tokens=${tokens})
print(tokenizer.decode(output[0, inputs.input_ids.shape[1]:], skip_special_tokens=True))
\`\`\``
    : `\`\`\`js
import { pipeline } from "@huggingface/transformers";

const summarise = await pipeline("text-generation", "${name}", { dtype: "${
      dtype === "f16" ? "fp16" : "fp32"
    }" });
const query = "${
      template.replaceAll("{subreddit}", "relationships").replace("{title}", "…").replace("{post}", "…")
    }";
const [{ generated_text }] = await summarise(query, { max_new_tokens: ${tokens}, return_full_text: false });
console.log(generated_text);
\`\`\`

The graph is one for prompt and decoding, with keys and values in \`past_key_values.N.key|value\` and \`present.N.key|value\`; it runs in
onnxruntime's CPU, WebAssembly and WebGPU providers, and in Python's \`onnxruntime\` as well. \`num_logits_to_keep\` is the number of last
positions whose logits are wanted, 0 for all. Load with \`device: "webgpu"\` where there is one.`;
  return [prompt, code, padding].join("\n\n");
}

function useOfReward({ name, to, dtype, model }: CardFacts): string {
  const { bias, offset } = model.score ?? { bias: 0, offset: 0 };
  const input = "The input is the query followed by a space, the summary, and `<|endoftext|>`: " +
    `\`${template} {summary}<|endoftext|>\`. The score is read at the last token that is not padding (\`<|pad|>\`, id ${model.padId}).`;
  if (to === "huggingface") {
    return [
      input,
      `\`\`\`python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("${name}")
model = AutoModelForSequenceClassification.from_pretrained("${name}", dtype="auto")

inputs = tokenizer([query + " " + summary + "<|endoftext|>"], padding=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits[:, 0]
score = logits + model.config.precis_score_bias - model.config.precis_score_offset
\`\`\``,
      "transformers' score head has no bias, so the last line is needed for the score that the model was trained and normalised to " +
      `give: logits + ${bias} − (${offset}). Differences between scores are right without it. The head's bias is also in the ` +
      "weights as `score.bias`, which transformers reports as unexpected and leaves out.",
    ].join("\n\n");
  }
  const file = `onnx/${dtype === "f16" ? "model_fp16" : "model"}.onnx`;
  const beside = model.dataFiles.map((path) => `{ path: "${path}", data: "onnx/${path}" }`);
  const options = beside.length > 0 ? `, { externalData: [${beside.join(", ")}] }` : "";
  return [
    input,
    `\`\`\`js
import * as ort from "onnxruntime-web";
import { AutoTokenizer } from "@huggingface/transformers";

const tokenizer = await AutoTokenizer.from_pretrained("${name}");
const { input_ids, attention_mask } = tokenizer([query + " " + summary + "<|endoftext|>"], { padding: true });
const session = await ort.InferenceSession.create("${file}"${options}); // where these files are served
const feed = ({ data, dims }) => new ort.Tensor("int64", data, dims);
const { logits } = await session.run({ input_ids: feed(input_ids), attention_mask: feed(attention_mask) });
\`\`\``,
    `\`logits\` [batch, 1] are the scores; the head's bias (${bias}) and the normalisation offset (${offset}) are in the graph.`,
  ].join("\n\n");
}

// ---- licence and citation ----

function licence({ license, baseModel, run }: CardFacts): string {
  const name =
    ({ mit: "the MIT License", "apache-2.0": "the Apache License 2.0" } as Record<string, string>)[license] ??
      plain(license);
  const model = license === "other"
    ? "The base model's licence applies to these weights; whoever publishes them must see what it asks for."
    : baseModel
    ? `The base model, ${baseModel}, is under ${name}, and so are these weights.`
    : `These weights are under ${name}${
      run?.config.model === "demo" ? ", as are the base model and its data, which were made for Précis" : ""
    }.`;
  const data = !run || run.config.data === "demo"
    ? ""
    : " The posts are from the TL;DR corpus of Reddit posts (CC BY 4.0); for the comparisons, OpenAI's terms hold " +
      "(github.com/openai/summarize-from-feedback). People wrote these posts for other ends: a model trained on them may repeat " +
      "what they say, their errors and prejudices too.";
  return model + data;
}

function citation({ run }: CardFacts): string {
  const version = run?.record.versions.precis;
  return `\`\`\`bibtex
@inproceedings{stiennon2020learning,
  title     = {Learning to summarize from human feedback},
  author    = {Stiennon, Nisan and Ouyang, Long and Wu, Jeffrey and Ziegler, Daniel M. and Lowe, Ryan and Voss, Chelsea and
               Radford, Alec and Amodei, Dario and Christiano, Paul},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
  note      = {arXiv:2009.01325}
}

@misc{huang2024nplus,
  title  = {The {N+} Implementation Details of {RLHF} with {PPO}: A Case Study on {TL;DR} Summarization},
  author = {Huang, Shengyi and Noukhovitch, Michael and Hosseini, Arian and Rasul, Kashif and Wang, Weixun and Tunstall, Lewis},
  year   = {2024},
  note   = {arXiv:2403.17031}
}

@software{precis,
  title  = {Précis: an {RLHF} research lab on {WebGPU}},
  author = {{The Précis authors}},
  year   = {2026}${version ? `,\n  version = {${version}}` : ""}
}
\`\`\``;
}
