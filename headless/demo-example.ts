/** `deno task demo-example`: computes what the page shows before any GPU has started, and writes it beside the demo's data. */
import { sha256OfFile, writeJson } from "../lab/bytes.ts";
import { choice, text } from "../lab/config_fields.ts";
import { demoLengths, examplePost, makeExample } from "../lab/demo/example.ts";
import { loadPosts } from "../lab/demo/load.ts";
import { loadQwen2 } from "../lab/qwen2.ts";
import { loadTokenizer } from "../lab/tokenizer.ts";
import { openGpu } from "./devices.ts";
import { failWith } from "./exit.ts";
import { diskFiles } from "./files.ts";
import { helpText, parseFlags } from "./flags.ts";

const usage = {
  task: "demo-example",
  about:
    "computes the result that the page opens on; the demo's base model must be there (deno task demo-base).",
  own: {
    demo: text("public/demo", {
      doc: "Folder of the demo, where example.json is written",
      placeholder: "FOLDER",
    }),
    gpu: choice(["auto", "dawn", "native"], "auto", { doc: "WebGPU implementation" }),
  },
};

async function main(): Promise<void> {
  const { own, help } = parseFlags(Deno.args, usage);
  if (help) return console.log(helpText(usage));
  const files = diskFiles();
  const base = `${own.demo}/base`, out = `${own.demo}/example.json`;
  const posts = await loadPosts((path) => files.read(`${own.demo}/${path}`), "test");
  const tokenizer = await loadTokenizer((path) => files.read(path), base);
  const gpu = await openGpu(own.gpu);
  const model = await loadQwen2(gpu, files, base, "base");
  const { sha256 } = await sha256OfFile(files, `${base}/model.safetensors`);
  const writer = { gpu, model, tokenizer, lengths: demoLengths };
  const example = await makeExample(writer, posts[examplePost], sha256);
  await writeJson(files, out, example);
  console.log(`${out}: ${example.summary.text}`);
  gpu.destroy();
}

if (import.meta.main) await main().catch(failWith);
