/** Where a run's model and data come from: the demo's folders, a folder, or what is fetched and pinned in run.json. */
import { type Files, joinPath, sha256OfFile } from "../lab/bytes.ts";
import type { Config } from "../lab/config.ts";
import { type Dataset, loadDemoData, loadTldrFolder } from "../lab/dataset.ts";
import type { Progress } from "../lab/progress.ts";
import type { RunRecord } from "../lab/report/data.ts";
import { fetchDataset, type FetchedDataset, fetchModel, type FetchOptions } from "./hub.ts";
import { openaiComparisons } from "./openai_batches.ts";

/** The demo's folders, beside this file wherever the repository lies. */
const demoFolder = decodeURIComponent(new URL("../public/demo", import.meta.url).pathname);

/** What a run is made from, on this disk. */
export interface Sources {
  /** Folder of the base model, tokenizer included. */
  baseFolder: string;
  /** Null stands for the embedded data; comparisons that are not named lie in the posts' folder. */
  data: { posts: FetchedDataset; comparisons?: FetchedDataset } | null;
  /** For run.json. */
  pinned: NonNullable<RunRecord["sources"]>;
}

/**
 * Finds model and data, and fetches what is not here.
 * @param earlier what the run directory's run.json has pinned; names that have not changed keep their commits
 * @throws HubError in one sentence
 */
export async function fetchSources(
  config: Pick<Config, "model" | "data" | "comparisons">,
  earlier: RunRecord["sources"],
  progress: Progress,
): Promise<Sources> {
  const pinned: Sources["pinned"] = {};
  const options = (field: keyof Sources["pinned"], name: string): FetchOptions => {
    const before = earlier?.[field];
    return { progress, flag: `--${field}`, pinned: before?.name === name ? before.commit : undefined };
  };
  const pin = (field: keyof Sources["pinned"], name: string, { commit }: { commit?: string }) => {
    if (commit !== undefined) pinned[field] = { name, commit };
  };
  let baseFolder = joinPath(demoFolder, "base");
  if (config.model !== "demo") {
    const model = await fetchModel(config.model, options("model", config.model));
    pin("model", config.model, model);
    baseFolder = model.folder;
  }
  if (config.data === "demo") return { baseFolder, data: null, pinned };

  const posts = await fetchDataset(config.data, options("data", config.data));
  pin("data", config.data, posts);
  const name = config.comparisons || (posts.commit === undefined ? "" : openaiComparisons);
  if (name === "") return { baseFolder, data: { posts }, pinned };
  const comparisons = await fetchDataset(name, options("comparisons", name));
  pin("comparisons", name, comparisons);
  return { baseFolder, data: { posts, comparisons }, pinned };
}

/** Reads the data. @throws naming file and line where a row cannot be understood */
export async function loadSources(files: Files, { data }: Sources): Promise<Dataset> {
  return data === null
    ? await loadDemoData(files, demoFolder)
    : await loadTldrFolder(files, data.posts.folder, data.comparisons?.folder);
}

/** SHA-256 of the base model's and the data's files: inputs of every stage. */
export async function digestSources(
  files: Files,
  { baseFolder, data }: Sources,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const add = async (label: string, folder: string, names: readonly string[]) => {
    for (const name of names) {
      found[`${label}/${name}`] = (await sha256OfFile(files, joinPath(folder, name))).sha256;
    }
  };
  const named = async (folder: string, pattern: RegExp) =>
    (await files.list(folder)).filter((file) => pattern.test(file));
  await add("model", baseFolder, await named(baseFolder, /\.(json|safetensors)$/));
  if (data === null) await add("data", demoFolder, await named(demoFolder, /\.jsonl(\.gz)?$/));
  for (const [label, set] of [["data", data?.posts], ["comparisons", data?.comparisons]] as const) {
    if (set) await add(label, set.folder, set.files.map(({ path }) => path));
  }
  return found;
}

/** The pinned commits in a run directory's run.json; none where there is no such file, or it is damaged. */
export async function pinnedSources(files: Files, out: string): Promise<RunRecord["sources"]> {
  try {
    return (JSON.parse(new TextDecoder().decode(await files.read(joinPath(out, "run.json")))) as RunRecord)
      .sources;
  } catch {
    return undefined;
  }
}
