/**
 * transformers.js as it runs in a browser, here in Deno: its web build, whose sessions are onnxruntime-web's in WebAssembly. The package's
 * own entry for Deno would load onnxruntime-node and sharp, native code that this must not depend on.
 */
import * as ort from "onnxruntime-web/webgpu";
import { type Files, joinPath } from "../../lab/bytes.ts";

const modules = new URL("../../node_modules/", import.meta.url);

/** What the tests use of it. */
export interface TransformersJs {
  env: Record<string, unknown>;
  pipeline(
    task: "text-generation",
    model: string,
    options?: Record<string, unknown>,
  ): Promise<Generator>;
}

export interface Generator {
  (text: string, options: Record<string, unknown>): Promise<{ generated_text: string }[]>;
  (texts: string[], options: Record<string, unknown>): Promise<{ generated_text: string }[][]>;
  tokenizer: { encode(text: string): number[] };
  model: { generation_config: Record<string, unknown> };
  dispose(): Promise<void>;
}

/**
 * Loads the library so that the model named `name` is the folder, and that nothing else is to be had from anywhere.
 * @returns the library and every address that it asked for and did not get
 */
export async function loadTransformersJs(
  files: Files,
  folder: string,
  name: string,
): Promise<[TransformersJs, string[]]> {
  const library = await import(new URL("@huggingface/transformers/dist/transformers.web.js", modules).href);
  const { env } = library;
  const repository = `https://huggingface.co/${name}/resolve/main/`;
  const binary = new URL(
    "ort-wasm-simd-threaded.asyncify.wasm",
    import.meta.resolve("onnxruntime-web/webgpu"),
  );
  const factory = new URL("ort-wasm-simd-threaded.asyncify.mjs", binary);
  const refused: string[] = [];
  ort.env.wasm.wasmPaths = { wasm: binary.href, mjs: factory.href };
  ort.env.wasm.numThreads = 1;
  env.useBrowserCache = false;
  env.useCustomCache = true;
  env.customCache = {
    async match(address: string) {
      if (address === binary.href) return new Response(await Deno.readFile(binary));
      // Anything but a response makes the library import the file itself and not a blob of it, which npm modules cannot in Deno.
      if (address === factory.href) return address;
      if (!address.startsWith(repository)) return undefined;
      const path = joinPath(folder, address.slice(repository.length));
      return await files.exists(path)
        ? new Response(await files.read(path) as Uint8Array<ArrayBuffer>)
        : undefined;
    },
    put: () => Promise.resolve(),
  };
  env.fetch = (address: string | URL) => {
    refused.push(String(address));
    return Promise.resolve(new Response(null, { status: 404 }));
  };
  return [library, refused];
}
