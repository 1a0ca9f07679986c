/**
 * Models and data by name: a local folder, or a repository of the Hugging Face Hub (owner/name, with @revision if need be), whose files
 * are fetched into Hugging Face's cache. Questions to the Hub go through `@huggingface/hub`; transfer and cache are ours, since its
 * `downloadFileToCacheDir` (2.17.5) neither resumes nor checks what it got nor keeps two processes apart. Files in Xet storage come
 * over plain HTTP, which the Hub offers for each of them: such a download can go on at any byte, and mirrors have it too.
 */
import { DamagedFileError } from "../lab/bytes.ts";
import { formatBytes } from "../lab/format.ts";
import type { Progress } from "../lab/progress.ts";
import {
  filesUnder,
  isCommit,
  readRef,
  type Repository,
  repositoryFolder,
  snapshotFolder,
  type TreeFile,
} from "./hub_cache.ts";
import { capital, FetchStopped, HubError, nameOf } from "./hub_errors.ts";
import { type Commit, fetchFiles, type Hub, nearest, openCommit } from "./hub_repository.ts";
import { type HubSettings, hubSettings } from "./hub_settings.ts";
import { type Patience, patience } from "./hub_transfer.ts";
import { onInterrupt } from "./interrupts.ts";
import { fetchBatches } from "./openai_batches.ts";

/** What to fetch with. */
export interface FetchOptions {
  progress: Progress;
  /** The commit to take whatever the name's revision means by now: that of the run which is to go on. */
  pinned?: string;
  /** The flag that holds the name, for messages: by default "--model" or "--data". */
  flag?: string;
  /** By default what the environment says. */
  settings?: HubSettings;
  patience?: Patience;
}

/** A model's folder: config.json, tokenizer and weights lie in it. */
export interface FetchedModel {
  folder: string;
  /** Undefined for a local folder. */
  commit?: string;
  /** Names of what makes the model: other programs may put more beside it into the Hub's cache. */
  files: string[];
}

/** Files of a data set in a folder, laid out as in its repository. */
export interface FetchedDataset {
  folder: string;
  /** Undefined for a local folder; of files from a plain URL, a digest of them all. */
  commit?: string;
  /** Paths relative to the folder, sorted. */
  files: { path: string; rows?: number }[];
}

/**
 * The folder of a model.
 * @param name a folder, or "owner/name" or "owner/name@revision"
 * @throws HubError in one sentence
 */
export async function fetchModel(name: string, options: FetchOptions): Promise<FetchedModel> {
  const named = await parseName("model", name, options.flag);
  if (named.local) {
    const names = await Array.fromAsync(Deno.readDir(name), (entry) => entry.name);
    return { folder: name, files: names.filter((file) => /\.(json|safetensors)$/.test(file)).sort() };
  }
  return await stoppable(options, (hub) => fetchHubModel(named, options, hub));
}

async function fetchHubModel(named: OnHub, options: FetchOptions, hub: Hub): Promise<FetchedModel> {
  const commit = await openCommit(named.repository, named.revision, options.pinned, hub);
  const required = pick(commit, ["config.json", "tokenizer.json", "tokenizer_config.json"], hub);
  const optional = commit.tree.filter(({ path }) => path === "generation_config.json");
  let bytes = 0;
  let weights = commit.tree.filter(({ path }) => path === "model.safetensors");
  if (weights.length === 0) {
    const [index] = pick(commit, [weightIndex], hub);
    bytes += await fetchFiles(commit, [index], hub);
    weights = [index, ...pick(commit, await shardsOf(`${commit.snapshot}/${index.path}`), hub)];
  }
  const files = [...required, ...optional, ...weights];
  bytes += await fetchFiles(commit, files, hub);
  tell(commit, bytes, options, hub);
  return { folder: commit.snapshot, commit: commit.commit, files: files.map(({ path }) => path).sort() };
}

/**
 * The files of a data set: parquet where there is any, else JSONL.
 * @param name a folder, "owner/name", "owner/name@revision", or the URL under which OpenAI's comparison batches lie
 * @throws HubError in one sentence
 */
export async function fetchDataset(name: string, options: FetchOptions): Promise<FetchedDataset> {
  if (/^https?:\/\//.test(name)) {
    return await stoppable(options, (hub) => fetchBatches(name, options.pinned, hub));
  }
  const named = await parseName("dataset", name, options.flag);
  if (named.local) {
    const paths = (await filesUnder(name)).filter((path) =>
      isVisible(path) && /\.(parquet|jsonl?)$/.test(path)
    );
    return { folder: name, files: paths.map((path) => ({ path })) };
  }
  return await stoppable(options, (hub) => fetchHubDataset(named, options, hub));
}

async function fetchHubDataset(named: OnHub, options: FetchOptions, hub: Hub): Promise<FetchedDataset> {
  const commit = await openCommit(named.repository, named.revision, options.pinned, hub);
  const files = dataFiles(commit, hub);
  const bytes = await fetchFiles(commit, files, hub);
  tell(commit, bytes, options, hub);
  return {
    folder: commit.snapshot,
    commit: commit.commit,
    files: files.map(({ path }) => ({ path })).sort(byPath),
  };
}

/** Whether a name leads to a folder, or to a repository of which something is in the cache: whether a run can be meant to use it. */
export async function isAtHand(kind: Repository["kind"], name: string): Promise<boolean> {
  const named = await parseName(kind, name).catch(() => undefined);
  if (named === undefined || named.local) return named !== undefined;
  const folder = repositoryFolder((await hubSettings(Deno.env.get)).cache, named.repository);
  const commit = isCommit(named.revision) ? named.revision : await readRef(folder, named.revision);
  return commit !== undefined && (await filesUnder(snapshotFolder(folder, commit))).length > 0;
}

/** Fetches until it is done or the user has had enough: all that has arrived by then is on the disk. @throws FetchStopped then */
async function stoppable<T>(
  { progress, settings: given, patience: patient = patience }: FetchOptions,
  work: (hub: Hub) => Promise<T>,
): Promise<T> {
  const settings = given ?? await hubSettings(Deno.env.get);
  const controller = new AbortController(), { signal } = controller;
  const kept = "what has arrived is kept, and the same command goes on from there.";
  const close = onInterrupt(() => {
    // The sentence to come is not to stand behind a bar.
    console.error();
    controller.abort();
  }, () => {
    console.error(`\nStopped at once; ${kept}`);
    Deno.exit(130);
  });
  try {
    const result = await work({ settings, progress, patience: { ...patient, signal } });
    signal.throwIfAborted();
    return result;
  } catch (error) {
    if (!signal.aborted || error instanceof FetchStopped) throw error;
    throw new FetchStopped(`Stopped while fetching; ${kept}`, { cause: error });
  } finally {
    close();
  }
}

interface OnHub {
  local: false;
  repository: Repository;
  revision: string;
}
type Named = { local: true } | OnHub;

/** A folder goes before a repository of the same name. @throws HubError where it is neither */
async function parseName(
  kind: Repository["kind"],
  name: string,
  flag = kind === "model" ? "--model" : "--data",
): Promise<Named> {
  const info = await Deno.stat(name).catch((error) => {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw new HubError("name", `Could not look into ${name}: permission is denied; check ${flag}.`, {
      cause: error,
    });
  });
  if (info?.isDirectory) return { local: true };
  if (info) throw new HubError("name", `${name} is a file, and a folder is needed; check ${flag}.`);
  const parts = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*?)(?:@([\w./-]+))?$/.exec(name);
  if (!parts || parts[1].includes("--") || parts[1].includes("..") || parts[2]?.split("/").includes("..")) {
    throw new HubError(
      "name",
      `There is no folder ${name}, and it is no ${kind} of the Hub either, which would be owner/name or owner/name@revision; ` +
        `check ${flag}.`,
    );
  }
  return { local: false, repository: { kind, name: parts[1] }, revision: parts[2] ?? "main" };
}

/** Files of the commit by path. @throws HubError where it has no such file */
function pick(commit: Commit, paths: readonly string[], hub: Hub): TreeFile[] {
  return paths.map((path) => {
    const file = commit.tree.find((entry) => entry.path === path);
    if (!file) throw lacking(commit, path, hub);
    return file;
  });
}

const weightIndex = "model.safetensors.index.json";

function lacking({ repository, commit, tree, listed }: Commit, path: string, hub: Hub): HubError {
  const what = nameOf(repository), at = commit.slice(0, 7);
  // Weights may be in one file or in several: without a list of the commit nobody knows.
  if (!listed) return notInCache(path === weightIndex ? "model.safetensors" : path, what, at, hub);
  const paths = tree.map((entry) => entry.path);
  if (path === weightIndex) {
    const other = paths.find((path) => /\.(bin|gguf|pth?|onnx|h5|msgpack)$/.test(path));
    const only = other ? `, only ${other}` : "";
    return new HubError(
      "file",
      `${capital(what)} has no weights in safetensors at ${at}${only}; choose another model or revision.`,
    );
  }
  const near = nearest(path, paths.filter((path) => /\.(json|safetensors)$/.test(path)));
  const rest = near ? `the nearest is ${near}` : "choose another model or revision";
  return new HubError("file", `${capital(what)} has no ${path} at ${at}; ${rest}.`);
}

function notInCache(path: string, what: string, at: string, { settings }: Hub): HubError {
  const why = settings.offline
    ? "HF_HUB_OFFLINE is set"
    : `${new URL(settings.endpoint).host} is out of reach`;
  return new HubError(
    "offline",
    `${why}, and ${path} of ${what} at ${at} is not in ${settings.cache}: fetch it when online, or name a local folder.`,
  );
}

/** The files that an index of weights names. */
async function shardsOf(path: string): Promise<string[]> {
  let map: unknown;
  try {
    map = JSON.parse(await Deno.readTextFile(path)).weight_map;
  } catch {
    map = undefined;
  }
  if (typeof map !== "object" || map === null) {
    throw new DamagedFileError(
      `${path} has no weight_map from tensor names to files; choose another model or revision.`,
    );
  }
  return [...new Set(Object.values(map as Record<string, string>).map(String))].sort();
}

/** @throws HubError where there are none, or where the cache alone can be looked at and some are missing in it */
function dataFiles({ repository, commit, tree, listed }: Commit, hub: Hub): TreeFile[] {
  const what = nameOf(repository), at = commit.slice(0, 7);
  const matching = (pattern: RegExp) => tree.filter(({ path }) => pattern.test(path) && isVisible(path));
  const parquet = matching(/\.parquet$/);
  const files = parquet.length > 0 ? parquet : matching(/\.jsonl$/);
  if (listed && files.length > 0) return files;
  if (listed) {
    const script = tree.some(({ path }) => path === `${repository.name.split("/")[1]}.py`);
    throw new HubError(
      "file",
      `${capital(what)} has neither parquet nor JSONL files at ${at}${
        script
          ? `, but a script that would load them from elsewhere; perhaps ${repository.name}@refs/convert/parquet has them`
          : "; choose another dataset or revision"
      }.`,
    );
  }
  // Without the Hub's list, the files' own numbering says whether all are there: train-00000-of-00003.
  const paths = new Set(files.map(({ path }) => path.replace(/(-of-\d+).*/, "$1")));
  const absent = [...paths].flatMap((path) => {
    const [, head, count] = /^(.*)-\d+-of-(\d+)$/.exec(path) ?? [];
    const wanted = Array.from(
      { length: Number(count ?? 0) },
      (_, i) => `${head}-${`${i}`.padStart(5, "0")}-of-${count}`,
    );
    return wanted.filter((name) => !paths.has(name));
  });
  if (files.length > 0 && absent.length === 0) return files;
  throw notInCache(absent[0] ?? "the data", what, at, hub);
}

const isVisible = (path: string) => !/(^|\/)\./.test(path);
const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1);

/** Says what was taken, from where. */
function tell(
  { repository, revision, commit }: Commit,
  bytes: number,
  { pinned }: FetchOptions,
  hub: Hub,
): void {
  const which = isCommit(revision)
    ? ""
    : pinned
    ? ` (as in run.json, wherever ${revision} is now)`
    : ` of ${revision}`;
  const how = bytes > 0
    ? `${formatBytes(bytes)} fetched from ${new URL(hub.settings.endpoint).host} to ${hub.settings.cache}`
    : `in the cache, ${hub.settings.cache}`;
  hub.progress.note(`${capital(nameOf(repository))}: commit ${commit.slice(0, 7)}${which}, ${how}.`);
}
