/** Where a run's model and data come from: the demo's folders, a folder, or what is fetched and pinned in run.json. */
import { DamagedFileError, type Files, joinPath, readJson, sha256OfFile } from "../lab/bytes.ts";
import type { Config } from "../lab/config.ts";
import { type Dataset, loadDemoData } from "../lab/dataset.ts";
import type { Progress } from "../lab/progress.ts";
import type { RunRecord } from "../lab/report/data.ts";
import { runsIn } from "../lab/run_record.ts";
import { loadTldrFolder } from "../lab/tldr_folder.ts";
import {
  fetchDataset,
  type FetchedDataset,
  type FetchedModel,
  fetchModel,
  type FetchOptions,
} from "./hub.ts";
import { isCommit } from "./hub_cache.ts";
import { openaiComparisons } from "./openai_batches.ts";

/** The demo's folders, beside this file wherever the repository lies. */
const demoFolder = decodeURIComponent(new URL("../public/demo", import.meta.url).pathname);

/** What a run is made from, on this disk. */
export interface Sources {
  /** The base model, tokenizer included. */
  base: FetchedModel;
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
  const base = await fetchModel(
    config.model === "demo" ? joinPath(demoFolder, "base") : config.model,
    options("model", config.model),
  );
  pin("model", config.model, base);
  if (config.data === "demo") return { base, data: null, pinned };

  const posts = await fetchDataset(config.data, options("data", config.data));
  pin("data", config.data, posts);
  const name = config.comparisons || (posts.commit === undefined ? "" : openaiComparisons);
  if (name === "") return { base, data: { posts }, pinned };
  const comparisons = await fetchDataset(name, options("comparisons", name));
  pin("comparisons", name, comparisons);
  return { base, data: { posts, comparisons }, pinned };
}

/** Reads the data. @throws naming file and line where a row cannot be understood */
export async function loadSources(files: Files, { data }: Sources): Promise<Dataset> {
  return data === null
    ? await loadDemoData(files, demoFolder)
    : await loadTldrFolder(files, data.posts, data.comparisons);
}

/** SHA-256 of the base model's and the data's files: inputs of every stage. */
export async function digestSources(
  files: Files,
  { base, data }: Sources,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const add = async (label: string, folder: string, names: readonly string[]) => {
    for (const name of names) {
      found[`${label}/${name}`] = (await sha256OfFile(files, joinPath(folder, name))).sha256;
    }
  };
  await add("model", base.folder, base.files);
  if (data === null) {
    await add("data", demoFolder, (await files.list(demoFolder)).filter((name) => /\.jsonl\.gz$/.test(name)));
  }
  for (const [label, set] of [["data", data?.posts], ["comparisons", data?.comparisons]] as const) {
    if (set) await add(label, set.folder, set.files.map(({ path }) => path));
  }
  return found;
}

/**
 * What to say where batches of comparisons are not what the newest earlier run found under the same address. Nobody has published a hash
 * of them, so that their SHA-256 in run.json is all there is to go by.
 * @param out looked at first, then the runs beside it
 */
export async function changedBatches(
  files: Files,
  out: string,
  { sources, inputs = {} }: Pick<RunRecord, "sources" | "inputs">,
): Promise<string[]> {
  const address = sources?.comparisons?.name ?? "";
  if (!/^https?:/.test(address)) return [];
  const beside = out.includes("/") ? out.slice(0, out.lastIndexOf("/")) || "/" : ".";
  const found: { run: string; record: RunRecord }[] = [];
  for (const run of new Set([out, ...await runsIn(files, beside)])) {
    try {
      const record = await readJson(files, joinPath(run, "run.json")) as RunRecord;
      if (record.sources?.comparisons?.name === address) found.push({ run, record });
    } catch {
      // A run that cannot be read says nothing.
    }
  }
  const [newest] = found.sort((a, b) => a.record.startedAt < b.record.startedAt ? 1 : -1);
  if (!newest) return [];
  const { run, record } = newest;
  const changed = Object.entries(inputs).filter(([name, sha256]) =>
    name.startsWith("comparisons/") && (record.inputs?.[name] ?? sha256) !== sha256
  );
  if (changed.length === 0) return [];
  const [[first, now]] = changed;
  const before = record.inputs![first];
  return [
    `${changed.length} of OpenAI's batches of comparisons ${
      changed.length === 1 ? "is" : "are"
    } not what ${run} found on ` +
    `${record.startedAt.slice(0, 10)}: ${
      changed.map(([name]) => name.slice("comparisons/".length)).join(", ")
    } ` +
    `(the first has SHA-256 ${now.slice(0, 12)}…, it had ${
      before.slice(0, 12)
    }…). No hash of them has been published.`,
  ];
}

/**
 * The pinned commits in a run directory's run.json; none where there is no such file, or it is no JSON (which --resume tells of).
 * @throws DamagedFileError where something else than a commit is pinned
 */
export async function pinnedSources(files: Files, out: string): Promise<RunRecord["sources"]> {
  const path = joinPath(out, "run.json");
  let sources: unknown;
  try {
    sources = JSON.parse(new TextDecoder().decode(await files.read(path))).sources;
  } catch {
    return undefined;
  }
  for (const [field, source] of Object.entries(sources ?? {})) {
    if (typeof source?.name === "string" && typeof source.commit === "string" && isCommit(source.commit)) {
      continue;
    }
    throw new DamagedFileError(
      `${path} does not say which commit of the ${field} the run began with; put its 40 digits there, or remove "sources".`,
    );
  }
  return (sources ?? undefined) as RunRecord["sources"];
}
