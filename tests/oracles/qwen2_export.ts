/**
 * Loads the golden models and writes them again, for qwen2_export.py to read with transformers:
 * deno run -A tests/oracles/qwen2_export.ts FOLDER && python tests/oracles/qwen2_export.py FOLDER
 */
import { diskFiles } from "../../headless/files.ts";
import { openGpu } from "../../headless/devices.ts";
import { loadQwen2, saveQwen2 } from "../../lab/qwen2.ts";

const [into] = Deno.args;
if (!into) throw new Error("which folder shall the models be written to?");
const golden = decodeURIComponent(new URL("golden/", import.meta.url).pathname);
const gpu = await openGpu();
for (const [name, dtype, maxShardBytes] of [
  ["qwen2_tied", "F32", undefined],
  ["qwen2_untied", "F32", 60_000],
  ["qwen2_reward", "F32", undefined],
  ["qwen2_critic", "BF16", undefined],
] as const) {
  const model = await loadQwen2(gpu, diskFiles(), golden + name, name);
  await saveQwen2(gpu, diskFiles(), `${into}/${name}`, model, { dtype, maxShardBytes });
}
gpu.destroy();
