/** Two small repositories: what huggingface_hub and we fetch to see that both leave the same cache behind. */
import type { HubRepository } from "../headless/hub_server.ts";

const text = (value: string) => new TextEncoder().encode(value);

export const fixtureCommit = "0123456789abcdef0123456789abcdef01234567";

/** For `serveHub`. The data set's files lie in a folder, and one of them has the bytes of another. */
export const fixtureRepositories: Record<string, HubRepository> = {
  "models/owner/a-model": {
    refs: { main: fixtureCommit },
    commits: {
      [fixtureCommit]: {
        files: {
          ".gitattributes": text("*.safetensors filter=lfs\n"),
          "config.json": text('{"model_type": "qwen2"}\n'),
          "generation_config.json": text('{"eos_token_id": 0}\n'),
          "model.safetensors": Uint8Array.from({ length: 3000 }, (_, i) => i % 251),
          "tokenizer.json": text('{"version": "1.0"}\n'),
          "tokenizer_config.json": text("{}\n"),
        },
        lfs: ["model.safetensors"],
      },
    },
  },
  "datasets/owner/a.data_set": {
    refs: { main: fixtureCommit },
    commits: {
      [fixtureCommit]: {
        files: {
          "README.md": text("# Data\n"),
          "data/train-00000-of-00001.parquet": Uint8Array.from({ length: 500 }, (_, i) => i % 7),
          "data/validation-00000-of-00001.parquet": Uint8Array.from({ length: 500 }, (_, i) => i % 7),
        },
        lfs: ["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"],
      },
    },
  },
};

/** The files that we fetch of them; Python is asked for the same. */
export const fixtureFiles = {
  model: ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
  dataset: ["data/*.parquet"],
};

/** A cache's folder by path: where a link leads, what a text says, how long other files are. Locks by name alone. */
export async function listCache(cache: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  const visit = async (under: string) => {
    for await (const { name, isDirectory, isSymlink } of Deno.readDir(`${cache}/${under}`)) {
      const path = under + name;
      if (isDirectory) await visit(`${path}/`);
      else if (isSymlink) found[path] = { link: await Deno.readLink(`${cache}/${path}`) };
      else if (path.includes("/trees/")) found[path] = JSON.parse(await Deno.readTextFile(`${cache}/${path}`));
      else if (path.includes("/refs/")) found[path] = await Deno.readTextFile(`${cache}/${path}`);
      else if (path.startsWith(".locks/")) found[path] = "lock";
      else if (path !== "CACHEDIR.TAG") found[path] = { bytes: (await Deno.stat(`${cache}/${path}`)).size };
    }
  };
  await visit("");
  return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
}
