/**
 * transformers.js on onnxruntime-web as the lab's referee: tokenizer, graph and sampling are theirs, only the weights are ours. It is
 * loaded when it is asked for, and reads its files from the folder that it is given and from nowhere else.
 */
import type { Files } from "../../bytes.ts";
import type { Referee } from "../../referee.ts";

/** Where the referee computes. */
export type Provider = "webgpu" | "wasm";

export interface RefereeOptions {
  provider: Provider;
  /** Ours, which it shares when it computes on WebGPU. */
  device: GPUDevice;
}

/** The name that the folder has for the library; an address of a hub that is never asked. */
const name = "precis/model";
const repository = `https://huggingface.co/${name}/resolve/main/`;

/**
 * Opens a folder in the layout of `deno task export --to onnx`.
 * @throws naming the file that is missing or that the library cannot read
 */
export async function openReferee(
  files: Pick<Files, "read" | "exists">,
  { provider, device }: RefereeOptions,
): Promise<Referee> {
  const { AutoModelForCausalLM, AutoTokenizer, env, Tensor } = await import("@huggingface/transformers");
  const wasm = env.backends.onnx.wasm!;
  // The file that the page's build has put beside it, and not the one on somebody else's server.
  wasm.wasmPaths = undefined;
  wasm.numThreads = 1;
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.useCustomCache = true;
  env.allowLocalModels = false;
  env.customCache = {
    async match(address: string) {
      if (!address.startsWith(repository)) return undefined;
      const path = address.slice(repository.length);
      return await files.exists(path)
        ? new Response(await files.read(path) as Uint8Array<ArrayBuffer>)
        : undefined;
    },
    put: () => Promise.resolve(),
  };
  // What the folder lacks is not to be had from elsewhere.
  env.fetch = () => Promise.resolve(new Response(null, { status: 404, statusText: "not in the folder" }));

  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const providers = provider === "webgpu" ? [{ name: "webgpu", device }] : ["wasm"];
  const model = await AutoModelForCausalLM.from_pretrained(name, {
    device: provider,
    dtype: "fp32",
    session_options: { executionProviders: providers as never },
  });
  const inputsOf = (ids: readonly number[]) => ({
    input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
    attention_mask: new Tensor("int64", new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
  });
  return {
    name: `transformers.js ${env.version} on onnxruntime-web, ${
      provider === "webgpu" ? "WebGPU, the same device" : "WebAssembly"
    }`,
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }),
    async logits(ids) {
      const { logits } = await model(inputsOf(ids));
      return Float32Array.from(logits.data as Float32Array);
    },
    async write(ids, count) {
      const sequences = await model.generate({
        ...inputsOf(ids),
        do_sample: false,
        max_new_tokens: count,
      } as never);
      const all = Array.from((sequences as InstanceType<typeof Tensor>).data as BigInt64Array, Number);
      return all.slice(ids.length);
    },
    async dispose() {
      await model.dispose();
    },
  };
}
