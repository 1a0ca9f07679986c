import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { parse } from "deno-std/yaml/mod.js";
import { type Config, presetConfig, readConfig } from "../../../lab/config.ts";
import { type CardFacts, modelCard, originOf } from "../../../lab/export/card.ts";
import { demoBaseConfig } from "../../../lab/demo/pretrain.ts";
import { syntheticReport } from "../report/synthetic.ts";

const { run: record, evaluation } = syntheticReport();

function facts(changes: Partial<CardFacts> = {}, config: Config = presetConfig("demo")): CardFacts {
  return {
    name: "me/tldr-ppo",
    role: "ppo",
    to: "huggingface",
    dtype: "f32",
    model: { config: demoBaseConfig, parameters: 197_440, dataFiles: [], padId: 767, eosId: 766 },
    license: "mit",
    run: { config, record, evaluation, reward: { accuracy: 0.8125 } },
    ...changes,
  };
}

const reward = {
  config: { ...demoBaseConfig, head: "score" as const },
  parameters: 5,
  dataFiles: [],
  padId: 767,
  eosId: 766,
};

/** The front matter, parsed, and the text after it. */
function parts(card: string): { matter: Record<string, unknown>; text: string } {
  const [, yaml, text] = /^---\n([^]*?)\n---\n\n([^]*)$/.exec(card)!;
  return { matter: parse(yaml) as Record<string, unknown>, text };
}

Deno.test("the front matter is what the Hub reads", () => {
  const hub = readConfig({ ...presetConfig("spark"), data: "owner/tldr@main", comparisons: "openai/them" });
  const policy = parts(modelCard(facts({ ...originOf("Qwen/Qwen2.5-0.5B") }, hub)));
  assertEquals(policy.matter, {
    library_name: "transformers",
    pipeline_tag: "text-generation",
    license: "apache-2.0",
    base_model: "Qwen/Qwen2.5-0.5B",
    base_model_relation: "finetune",
    datasets: ["owner/tldr", "openai/them"],
    language: ["en"],
    tags: ["precis", "rlhf", "ppo", "summarization", "tldr"],
  });
  const graph = parts(modelCard(facts({ role: "sft", to: "onnx", dtype: "f16" })));
  assertEquals(graph.matter, {
    library_name: "transformers.js",
    pipeline_tag: "text-generation",
    license: "mit",
    language: ["en"],
    tags: ["precis", "rlhf", "sft", "summarization", "tldr", "onnx", "transformers.js"],
  });
  const score = parts(
    modelCard(facts({ role: "reward", model: { ...reward, score: { bias: 0, offset: 0 } } })),
  );
  assertEquals([score.matter.pipeline_tag, (score.matter.tags as string[])[2]], [
    "text-classification",
    "reward-model",
  ]);
  const odd = 'x: "y"\n- z';
  assertEquals(parts(modelCard(facts({ license: odd }))).matter.license, odd);
});

Deno.test("the base model's licence is known where its name tells", () => {
  assertEquals(originOf("demo"), { license: "mit" });
  const half = { baseModel: "Qwen/Qwen2.5-0.5B", license: "apache-2.0" };
  for (
    const name of ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B@main", "/models/Qwen2.5-0.5B/", "../Qwen2.5-0.5B"]
  ) {
    assertEquals(originOf(name), half, name);
  }
  assertEquals(originOf("Qwen/Qwen2-7B-Instruct").baseModel, "Qwen/Qwen2-7B-Instruct");
  for (const name of ["Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-72B", "mine", "Qwen2.5-0.5B/other"]) {
    assertEquals(originOf(name), { license: "other" }, name);
  }
});

Deno.test("a policy's card has the run's figures, and an SFT policy's none of PPO's", () => {
  const { text } = parts(modelCard(facts()));
  const ppo = evaluation!.authors.find(({ author }) => author === "ppo")!;
  const row = text.split("\n").find((line) => line.startsWith("| PPO |"))!;
  assertStringIncludes(row, ppo.gold!.mean.toFixed(2));
  assertStringIncludes(row, ppo.rougeL!.toFixed(3));
  const match = evaluation!.matches.find(({ ours }) => ours === "ppo")!;
  assertStringIncludes(text, `${match.raw.count} posts`);
  assertMatch(text, /- PPO: 1,024 episodes in batches of 64, 2 epochs each, learning rate 0\.0005/);
  assertStringIncludes(text, "Seed 44413");
  assertMatch(text, /differs from the published recipe in .*`ppo\.episodes` \(1024\)/);
  const cells = (line: string) => line.split(/(?<!\\)\|/).length;
  const lines = text.split("\n").filter((line) => line.startsWith("|"));
  assert(lines.length > 4 && lines.every((line) => cells(line) === cells(lines[0])));

  const sft = parts(modelCard(facts({ role: "sft" }))).text;
  assert(
    !sft.includes("| PPO |") && !sft.includes("PPO preferred") && !sft.includes("- PPO:") &&
      !sft.includes("`ppo."),
  );
  assertStringIncludes(sft, "| SFT |");
});

Deno.test("a reward model's card says how to get our scores", () => {
  const model = { ...reward, score: { bias: 0.375, offset: -1.25 } };
  const { text } = parts(modelCard(facts({ role: "reward", model })));
  assertStringIncludes(text, "logits + model.config.precis_score_bias - model.config.precis_score_offset");
  assertStringIncludes(text, "logits + 0.375 − (-1.25)");
  assertMatch(text, /Accuracy on held-out comparisons: 81\.3/);
  const beside = { ...model, dataFiles: ["model_fp16.onnx_data"] };
  const graph = parts(modelCard(facts({ role: "reward", model: beside, to: "onnx", dtype: "f16" }))).text;
  assertStringIncludes(
    graph,
    'externalData: [{ path: "model_fp16.onnx_data", data: "onnx/model_fp16.onnx_data" }]',
  );
  assertStringIncludes(graph, "onnx/model_fp16.onnx");
  assert(!graph.includes("precis_score_bias"));
});

Deno.test("a card cites the papers, tells how to load the model, and keeps paths to itself", () => {
  const config = readConfig({
    ...presetConfig("spark"),
    data: "/home/ada/secret",
    model: "/home/ada/Qwen2.5-0.5B",
  });
  for (const to of ["huggingface", "onnx"] as const) {
    const { text } = parts(modelCard(facts({ to, ...originOf(config.model) }, config)));
    for (
      const words of [
        "arXiv:2009.01325",
        "arXiv:2403.17031",
        "@software{precis",
        "CC BY 4.0",
        "Apache License 2.0",
      ]
    ) {
      assertStringIncludes(text, words);
    }
    assertStringIncludes(
      text,
      to === "onnx" ? 'pipeline("text-generation", "me/tldr-ppo"' : "AutoModelForCausalLM",
    );
    assert(!text.includes("/home/ada"));
  }
  assertStringIncludes(modelCard(facts({ run: undefined, role: "model" })), "A Qwen2 language model.");
});

Deno.test("what a run's files say stays text", () => {
  const hostile = structuredClone(record);
  hostile.device.adapter = "x\n\n# Free money <script>`";
  const { text } = parts(modelCard(facts({ run: { config: presetConfig("demo"), record: hostile } })));
  assert(!/^# Free/m.test(text) && !text.includes(" <script>"));
});
