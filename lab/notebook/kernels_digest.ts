/** The digest of all kernels: whichever of them a page or a process happens to have loaded, it is the same. */
import "../../kernels/adamw.ts";
import "../../kernels/attention.ts";
import "../../kernels/attention_map.ts";
import "../../kernels/column_sums.ts";
import "../../kernels/elementwise.ts";
import "../../kernels/embedding.ts";
import "../../kernels/first_eos.ts";
import "../../kernels/gae.ts";
import "../../kernels/gather_rows.ts";
import "../../kernels/gpu.ts";
import "../../kernels/grad_norm.ts";
import "../../kernels/heat_map.ts";
import "../../kernels/histogram.ts";
import "../../kernels/key_value_cache.ts";
import "../../kernels/kl_reward.ts";
import "../../kernels/logprob.ts";
import "../../kernels/matmul_variants.ts";
import "../../kernels/pairwise_loss.ts";
import "../../kernels/ppo_policy_loss.ts";
import "../../kernels/ppo_value_loss.ts";
import "../../kernels/reduce.ts";
import "../../kernels/repeat_rows.ts";
import "../../kernels/rmsnorm.ts";
import "../../kernels/rollout_statistics.ts";
import "../../kernels/rope.ts";
import "../../kernels/row_change.ts";
import "../../kernels/sample.ts";
import "../../kernels/scalar_head.ts";
import "../../kernels/swiglu.ts";
import "../../kernels/top_tokens.ts";
import "../../kernels/update_norm.ts";
import "../../kernels/whiten.ts";
import "../../kernels/widen.ts";
import { declaredKernels } from "../../kernels/kernel.ts";
import { digestOfJson } from "../bytes.ts";

let digest: Promise<string> | null = null;

/** SHA-256 of the names and texts of all kernels, as `run.json` has it. */
export function kernelsDigest(): Promise<string> {
  return digest ??= digestOfJson(declaredKernels.map(({ name, source }) => [name, source].join("\n")).sort());
}
