/** A repository of the Hub at one commit, its files in Hugging Face's cache. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { levenshteinDistance } from "deno-std/text/levenshtein_distance.js";
import { formatBytes } from "../lab/format.ts";
import type { Progress } from "../lab/progress.ts";
import {
  filesUnder,
  isCommit,
  knownRefs,
  linkBlob,
  readRef,
  readTree,
  type Repository,
  repositoryFolder,
  sizeOf,
  snapshotFolder,
  type TreeFile,
  withLock,
  writeRef,
  writeTree,
} from "./hub_cache.ts";
import {
  capital,
  explainAnswer,
  explainCacheError,
  FetchStopped,
  HubError,
  nameOf,
  pageOf,
  PassingError,
  type Subject,
} from "./hub_errors.ts";
import type { HubSettings } from "./hub_settings.ts";
import { calmly, download, type Patience, persist, send } from "./hub_transfer.ts";

/** What all work with the Hub goes through. */
export interface Hub {
  settings: HubSettings;
  patience: Patience;
  progress: Progress;
}

/** A commit and what is known of its files. */
export interface Commit {
  repository: Repository;
  /** As it was asked for: "main". */
  revision: string;
  commit: string;
  /** Every file where the Hub has listed them, those in the cache otherwise. */
  tree: TreeFile[];
  /** Whether `tree` is the Hub's list. */
  listed: boolean;
  /** Its folder in the cache. */
  folder: string;
  /** The checkout in it. */
  snapshot: string;
}

/**
 * Finds the commit that a revision means, and its files. A commit needs no question once its list is in the cache; a branch is asked
 * for each time, and taken as last seen where the Hub is out of reach.
 * @param pinned the commit to take, whatever the revision means by now
 * @throws HubError
 */
export async function openCommit(
  repository: Repository,
  revision: string,
  pinned: string | undefined,
  hub: Hub,
): Promise<Commit> {
  const folder = repositoryFolder(hub.settings.cache, repository);
  const commit = pinned ??
    (isCommit(revision) ? revision : await commitOf(repository, revision, folder, hub));
  const snapshot = snapshotFolder(folder, commit);
  const known = { repository, revision, commit, folder, snapshot };
  const tree = await readTree(folder, commit);
  if (tree) return { ...known, tree, listed: true };
  const cached = async () => ({
    ...known,
    listed: false,
    tree: await Promise.all(
      (await filesUnder(snapshot)).map(async (path) => ({ path, size: await sizeOf(`${snapshot}/${path}`) })),
    ),
  });
  if (hub.settings.offline) return await cached();
  try {
    const listed = await listTree(repository, commit, hub);
    await writeTree(folder, commit, listed);
    return { ...known, tree: listed, listed: true };
  } catch (error) {
    const found = await cached();
    if (!isOutOfReach(error) || found.tree.length === 0) throw error;
    return found;
  }
}

async function commitOf(repository: Repository, revision: string, folder: string, hub: Hub): Promise<string> {
  const seen = await readRef(folder, revision);
  if (hub.settings.offline) {
    if (seen) return seen;
    const others = (await knownRefs(folder)).join(", ");
    throw new HubError(
      "offline",
      `HF_HUB_OFFLINE is set, and ${nameOf(repository)} at ${revision} is not in ${hub.settings.cache}` +
        `${others && ` (only ${others})`}: fetch it once without, or name a local folder.`,
    );
  }
  try {
    const { modelInfo, datasetInfo } = await import("@huggingface/hub");
    const about = {
      name: repository.name,
      revision,
      additionalFields: ["sha" as const],
      hubUrl: hub.settings.endpoint,
      // The first question of all: who has no network should hear of it soon.
      fetch: questions({ repository, revision }, hub, Math.min(4, hub.patience.tries)),
    };
    const { sha } = await asHub(
      hub,
      async () => repository.kind === "model" ? await modelInfo(about) : await datasetInfo(about),
    );
    if (!isCommit(sha)) throw noHub(hub);
    await writeRef(folder, revision, sha);
    return sha;
  } catch (error) {
    if (seen && isOutOfReach(error)) {
      const why = error.cause instanceof PassingError ? error.cause.said : error.message;
      hub.progress.note(`${why}; taking ${nameOf(repository)} as last seen, at ${seen.slice(0, 7)}.`);
      return seen;
    }
    throw await withNearest(error, { repository, revision }, hub);
  }
}

const isOutOfReach = (error: unknown): error is HubError =>
  error instanceof HubError && (error.fault === "unreachable" || error.fault === "busy");

async function listTree(repository: Repository, commit: string, hub: Hub): Promise<TreeFile[]> {
  const { listFiles } = await import("@huggingface/hub");
  const { kind: type, name } = repository;
  const subject = { repository, revision: commit };
  const files: TreeFile[] = [];
  await asHub(hub, async () => {
    for await (
      const { type: entry, path, size, oid, lfs, xetHash } of listFiles({
        repo: { type, name },
        revision: commit,
        recursive: true,
        hubUrl: hub.settings.endpoint,
        fetch: questions(subject, hub, hub.patience.tries),
      })
    ) {
      if (entry !== "file") continue;
      files.push({
        path,
        size: lfs?.size ?? size,
        blobId: oid,
        sha256: lfs?.oid.replace(/^sha256:/, ""),
        xetHash,
      });
    }
  }).catch(async (error) => {
    throw await withNearest(error, subject, hub);
  });
  return files;
}

/** The library takes any answer of status 200 for the Hub's. */
async function asHub<T>(hub: Hub, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof HubError ? error : noHub(hub, error);
  }
}

const noHub = ({ settings }: Hub, cause?: unknown) =>
  new HubError(
    "name",
    `${settings.endpoint} does not answer as a Hugging Face Hub does; check HF_ENDPOINT.`,
    { cause },
  );

/** A `fetch` for the library: waits and tries again, brings the token to the Hub and nowhere else, and fails with our sentences. */
function questions(subject: Subject, hub: Hub, tries: number): typeof fetch {
  return (input, init) =>
    persist({ ...hub.patience, tries }, hub.progress.note, async () => {
      const url = String(input);
      const headers = { ...Object.fromEntries(new Headers(init?.headers)), ...authorisation(url, hub) };
      const { response, stop } = await send(url, { ...init, headers }, hub.patience);
      try {
        if (!response.ok) throw explainAnswer(response, subject, hub.settings);
        const body = await response.arrayBuffer().catch(() => {
          throw new PassingError("busy", `${new URL(url).host} broke off its answer`, "check the network");
        });
        return new Response(body, { headers: response.headers });
      } finally {
        stop();
        if (!response.bodyUsed) await response.body?.cancel().catch(() => {});
      }
    });
}

function authorisation(url: string, { settings }: Hub): Record<string, string> {
  const ours = settings.token && new URL(url).origin === new URL(settings.endpoint).origin;
  return ours ? { Authorization: `Bearer ${settings.token}` } : {};
}

/** Completes the sentence of an error about a name: with the names that are nearest, or with what else to try. */
async function withNearest(error: unknown, { repository, revision }: Subject, hub: Hub): Promise<unknown> {
  if (!(error instanceof HubError) || (error.fault !== "repository" && error.fault !== "revision")) {
    return error;
  }
  const repositories = error.fault === "repository";
  const known = await (repositories ? repositoriesOf(repository, hub) : revisionsOf(repository, hub))
    .catch(() => [] as string[]);
  const near = nearest(repositories ? repository.name : revision, known);
  const rest = near
    ? `; the nearest is ${near}.`
    : repositories
    ? `, nor a folder here; check the spelling${
      hub.settings.token ? "" : ", or set HF_TOKEN if it is private"
    }.`
    : `; see ${pageOf(hub.settings, repository)}/tree/main.`;
  return new HubError(error.fault, error.message + rest, { cause: error });
}

/** Names that may have been meant: the owner's, those in the cache, those of the recipe. */
async function repositoriesOf({ kind, name }: Repository, hub: Hub): Promise<string[]> {
  const names = kind === "model" ? ["Qwen/Qwen2.5-0.5B"] : [
    "vwxyzjn/summarize_from_feedback_tldr_3_filtered",
    "vwxyzjn/summarize_from_feedback_oai_preprocessing_1706381144",
  ];
  try {
    for await (const { name: folder } of Deno.readDir(hub.settings.cache)) {
      const [of, ...parts] = folder.split("--");
      if (of === `${kind}s`) names.push(parts.join("/"));
    }
  } catch {
    // Nothing has been fetched yet.
  }
  const { listModels, listDatasets } = await import("@huggingface/hub");
  const search = {
    search: { owner: name.split("/")[0] },
    limit: 500,
    hubUrl: hub.settings.endpoint,
    fetch: questions({ repository: { kind, name }, revision: "main" }, hub, 1),
  };
  try {
    for await (const entry of kind === "model" ? listModels(search) : listDatasets(search)) {
      names.push(entry.name);
    }
  } catch {
    // The names known here will do.
  }
  return names;
}

async function revisionsOf(repository: Repository, hub: Hub): Promise<string[]> {
  const ask = questions({ repository, revision: "main" }, hub, 1);
  const answer = await ask(`${hub.settings.endpoint}/api/${repository.kind}s/${repository.name}/refs`);
  const { branches = [], tags = [] } = await answer.json() as Record<string, { name: string }[]>;
  return [...branches, ...tags].map(({ name }) => name);
}

/** The other name that differs in the fewest letters, if those are few. */
export function nearest(wanted: string, known: readonly string[]): string | undefined {
  const ranked = [...new Set(known)]
    .filter((name) => name !== wanted)
    .map((name) => ({ name, distance: levenshteinDistance(wanted.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.distance <= Math.max(2, wanted.length / 5) ? ranked[0].name : undefined;
}

/**
 * Sees to it that files of a commit are in its snapshot.
 * @returns bytes that had to be fetched
 * @throws HubError in one sentence; whatever has arrived stays for the next time
 */
export async function fetchFiles(commit: Commit, files: readonly TreeFile[], hub: Hub): Promise<number> {
  const { repository, snapshot } = commit;
  const missing: TreeFile[] = [];
  for (const file of files) {
    const there = await sizeOf(`${snapshot}/${file.path}`);
    if (there === undefined || there !== (file.size ?? there)) missing.push(file);
  }
  if (missing.length === 0) return 0;
  if (hub.settings.offline) {
    const more = missing.length > 1 ? ` and ${missing.length - 1} more` : "";
    throw new HubError(
      "offline",
      `HF_HUB_OFFLINE is set, and ${missing[0].path}${more} of ${nameOf(repository)} at ` +
        `${
          commit.commit.slice(0, 7)
        } is not in ${hub.settings.cache}: fetch it once without, or name a local folder.`,
    );
  }
  const plans = missing.map((file) => ({ file, ...placeOf(commit, file, hub) }));
  const total = plans.reduce((sum, { file }) => sum + file.size!, 0);
  let left = total;
  for (const { file, blob, incomplete } of plans) {
    left -= await sizeOf(blob) === file.size ? file.size! : await sizeOf(incomplete) ?? 0;
  }
  await requireRoom(commit, left, hub);
  const stage = hub.progress.stage("fetch", { steps: total, unit: "bytes" });
  const show = calmly(stage);
  let before = 0, have = 0, fetched = 0;
  try {
    for (const plan of plans) {
      fetched += await fetchFile(commit, plan, hub, (bytes) => {
        have = before + bytes;
        show(have, plan.file.path);
      });
      before += plan.file.size!;
    }
  } catch (error) {
    if (hub.patience.signal?.aborted) throw stoppedWith(nameOf(repository), have, total, hub.settings.cache);
    throw explainCacheError(error, hub.settings.cache);
  }
  stage.step(total);
  stage.done(repository.name);
  return fetched;
}

/** The end of a transfer that the user has stopped. @param what "dataset owner/name" */
export function stoppedWith(what: string, bytes: number, total: number, place: string): FetchStopped {
  return new FetchStopped(
    `Stopped while fetching ${what}: ${formatBytes(bytes)} of ${
      formatBytes(total)
    } are kept in ${place}, and the same command ` +
      `goes on from there.`,
  );
}

interface Place {
  file: TreeFile;
  blob: string;
  incomplete: string;
  lock: string;
  pointer: string;
}

/** Where a file and its bytes go. @throws HubError where the Hub's list would lead somewhere else */
function placeOf(
  { repository, folder, snapshot }: Commit,
  file: TreeFile,
  { settings }: Hub,
): Omit<Place, "file"> {
  const id = file.sha256 ?? file.blobId ?? "";
  const inside = file.path.split(/[/\\]/).every((part) =>
    part !== "" && part !== ".." && part !== "." && !/^\w:/.test(part)
  );
  if (
    !inside || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(id) ||
    !(Number.isSafeInteger(file.size) && file.size! >= 0)
  ) {
    throw new HubError(
      "damaged",
      `${settings.endpoint} lists ${JSON.stringify(file.path)} in ${
        nameOf(repository)
      } with a path, hash or size that none ` +
        `can have; check HF_ENDPOINT.`,
    );
  }
  return {
    blob: `${folder}/blobs/${id}`,
    incomplete: `${folder}/blobs/${id}.incomplete`,
    lock: `${settings.cache}/.locks/${folder.split("/").at(-1)}/${id}.lock`,
    pointer: `${snapshot}/${file.path}`,
  };
}

/** One file, by one process at a time. Returns the bytes that were not there before. */
async function fetchFile(
  { repository, commit, revision }: Commit,
  { file, blob, incomplete, lock, pointer }: Place,
  hub: Hub,
  arrived: (bytes: number) => void,
): Promise<number> {
  const { note } = hub.progress;
  const label = `${file.path} of ${repository.name}`;
  return await withLock(
    lock,
    () => note(`Another process is fetching ${label}; waiting for it.`),
    async () => {
      let fetched = 0;
      if (await sizeOf(blob) !== file.size) {
        const before = await sizeOf(incomplete) ?? 0;
        const path = file.path.split("/").map(encodeURIComponent).join("/");
        const url = `${pageOf(hub.settings, repository)}/resolve/${commit}/${path}`;
        const subject = { repository, revision, path: file.path };
        await download(
          {
            url,
            headers: authorisation(url, hub),
            label,
            target: blob,
            incomplete,
            size: file.size!,
            digest: file.sha256 ? { kind: "sha256", hex: file.sha256 } : { kind: "git", hex: file.blobId! },
            explain: (response) => {
              const error = explainAnswer(response, subject, hub.settings);
              return error instanceof HubError && error.fault === "file"
                ? new HubError(
                  "file",
                  `${error.message}, though its list names it; try another mirror (HF_ENDPOINT).`,
                )
                : error;
            },
          },
          hub.patience,
          note,
          arrived,
        );
        fetched = file.size! - before;
      }
      await linkBlob(blob, pointer);
      return fetched;
    },
    hub.patience.signal,
  );
}

/** @throws HubError where the disk under the cache has no room for so many bytes */
async function requireRoom({ repository, folder }: Commit, bytes: number, { settings }: Hub): Promise<void> {
  let place = folder;
  while (await Deno.stat(place).then(() => false, () => true) && dirname(place) !== place) {
    place = dirname(place);
  }
  const { bavail, bsize } = await statfs(place).catch(() => ({ bavail: Infinity, bsize: 1 }));
  if (bytes <= bavail * bsize) return;
  throw new HubError(
    "disk",
    `${capital(nameOf(repository))} needs ${formatBytes(bytes)} more in ${settings.cache}, where ${
      formatBytes(bavail * bsize)
    } ` +
      `are free; free some space or name another place with HF_HOME.`,
  );
}
