/**
 * OpenAI's human comparisons as they published them: JSON lines, one file a batch, under a plain URL. `openai/summarize_from_feedback` on the
 * Hub is a loading script for the same files. They are kept where Hugging Face's libraries keep what is in no repository:
 * `$HF_HOME/assets/precis/<host>/<path>/`, with a list in `<path>.json` beside it once all are there.
 */
import { canonicalJson, DamagedFileError, sha256Of, sha256OfFile } from "../lab/bytes.ts";
import { batchNames } from "../lab/comparisons.ts";
import { formatBytes } from "../lab/format.ts";
import { diskFiles } from "./files.ts";
import type { FetchedDataset } from "./hub.ts";
import { sizeOf, withLock } from "./hub_cache.ts";
import { explainCacheError, HubError, PassingError, secondsToWait } from "./hub_errors.ts";
import { type Hub, stoppedWith } from "./hub_repository.ts";
import { calmly, download, persist, send } from "./hub_transfer.ts";

/** Where OpenAI published them. */
export const openaiComparisons =
  "https://openaipublic.blob.core.windows.net/summarize-from-feedback/dataset/comparisons";

/** The files' names. */
export const batchFiles: readonly string[] = batchNames.map((name) => `${name}.json`).sort();

/** A file as it was when the last of them arrived. */
interface Kept {
  path: string;
  size: number;
  sha256: string;
}

/** What the server says of a file before it sends it. */
interface Head {
  size: number;
  /** Names the content: the ETag, or else the date; undefined where the server gives neither. */
  version?: string;
  /** Hexadecimal, where the server knows it. */
  md5?: string;
}

/**
 * All batches under a URL, in a folder.
 * @param pinned what `commit` must be
 * @returns `commit`: the first 40 digits of a SHA-256 over the names and hashes of all files
 * @throws HubError in one sentence; files that have arrived stay
 */
export async function fetchBatches(
  base: string,
  pinned: string | undefined,
  hub: Hub,
): Promise<FetchedDataset> {
  const { settings, progress } = hub;
  const from = new URL(base.replace(/\/*$/, "/"));
  const folder = `${settings.assets}/precis/${from.host.replace(":", "_")}${
    from.pathname.replace(/\/$/, "")
  }`;
  const manifest = `${folder}.json`;
  let kept = await readManifest(manifest);
  let fetched = 0;
  if (kept === undefined || !await allThere(folder, kept)) {
    if (settings.offline) {
      throw new HubError(
        "offline",
        `HF_HUB_OFFLINE is set, and the comparisons of ${from.host} are not in ${folder}: fetch them once without, or name a ` +
          `local folder with --comparisons.`,
      );
    }
    try {
      await Deno.mkdir(folder, { recursive: true });
    } catch (error) {
      throw explainCacheError(error, folder);
    }
    const wait = () =>
      progress.note(`Another process is fetching the comparisons of ${from.host}; waiting for it.`);
    await withLock(`${folder}.lock`, wait, async () => {
      kept = await readManifest(manifest);
      if (kept && await allThere(folder, kept)) return;
      fetched = await fetchAll(from, folder, hub);
      kept = await Promise.all(batchFiles.map(async (path) => ({
        path,
        ...await sha256OfFile(diskFiles(), `${folder}/${path}`),
      })));
      const json = JSON.stringify({ format: 1, from: from.href, files: kept }, null, 2);
      await diskFiles().writeAtomic(manifest, new TextEncoder().encode(json));
    }, hub.patience.signal);
  }
  const identity = kept!.map(({ path, sha256 }) => ({ path, sha256 }));
  const commit = (await sha256Of(new TextEncoder().encode(canonicalJson(identity)))).slice(0, 40);
  if (pinned !== undefined && pinned !== commit) {
    throw new HubError(
      "damaged",
      `The comparisons in ${folder} are not those that this run began with (${
        commit.slice(0, 7)
      } instead of ` +
        `${pinned.slice(0, 7)}); start a new run with another --out, or put the old files back.`,
    );
  }
  const how = fetched > 0
    ? `${formatBytes(fetched)} fetched from ${from.host} to ${folder}`
    : `in the cache, ${folder}`;
  progress.note(`Comparisons: ${kept!.length} batches, ${how}.`);
  return { folder, commit, files: kept!.map(({ path }) => ({ path })) };
}

async function readManifest(path: string): Promise<Kept[] | undefined> {
  const text = await Deno.readTextFile(path).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const { format, files } = JSON.parse(text);
    if (format === 1 && Array.isArray(files)) return files;
  } catch {
    // Said below.
  }
  throw new DamagedFileError(`${path} is damaged; remove it, and what was fetched is looked at again.`);
}

async function allThere(folder: string, files: readonly Kept[]): Promise<boolean> {
  const sizes = await Promise.all(files.map(({ path }) => sizeOf(`${folder}/${path}`)));
  return files.every(({ size }, i) => sizes[i] === size);
}

/** Fetches what is not there yet. Returns bytes. */
async function fetchAll(from: URL, folder: string, hub: Hub): Promise<number> {
  const { note } = hub.progress;
  const plans: { name: string; url: string; head: Head }[] = [];
  for (const name of batchFiles) {
    const url = new URL(name, from).href;
    const head = await askAbout(url, hub);
    if (await sizeOf(`${folder}/${name}`) !== head.size) plans.push({ name, url, head });
  }
  const total = plans.reduce((sum, { head }) => sum + head.size, 0);
  if (total === 0) return 0;
  const stage = hub.progress.stage("fetch", { steps: total, unit: "bytes" });
  const show = calmly(stage);
  let before = 0, have = 0;
  const fetchOne = async ({ name, url, head: { size, version, md5 } }: typeof plans[number]) => {
    const incomplete = `${folder}/${name}.${version ?? crypto.randomUUID()}.incomplete`;
    for await (const { name: other } of Deno.readDir(folder)) {
      // Of a version that is no longer offered, a beginning is worth nothing.
      const path = `${folder}/${other}`;
      if (other.startsWith(`${name}.`) && other.endsWith(".incomplete") && path !== incomplete) {
        await Deno.remove(path);
      }
    }
    await download(
      {
        url,
        headers: {},
        label: name,
        target: `${folder}/${name}`,
        incomplete,
        size,
        digest: md5 ? { kind: "md5", hex: md5 } : undefined,
        explain: (response) => explain(response, url),
      },
      hub.patience,
      note,
      (bytes) => {
        // Without a version nobody knows next time what this is the beginning of.
        have = version === undefined ? before : before + bytes;
        show(before + bytes, name);
      },
    );
    before += size;
  };
  try {
    for (const plan of plans) await fetchOne(plan);
  } catch (error) {
    if (hub.patience.signal?.aborted) throw stoppedWith("the comparisons", have, total, folder);
    throw error;
  }
  stage.step(total);
  stage.done("comparisons");
  return total;
}

async function askAbout(url: string, hub: Hub): Promise<Head> {
  return await persist(hub.patience, hub.progress.note, async () => {
    const { response, stop } = await send(url, { method: "HEAD" }, hub.patience);
    stop();
    if (!response.ok) throw explain(response, url);
    const { headers } = response;
    const size = Number(headers.get("Content-Length") ?? NaN);
    if (!Number.isSafeInteger(size)) {
      throw new HubError(
        "name",
        `${url} does not say how long it is; check --comparisons or name another mirror.`,
      );
    }
    const version = headers.get("ETag") ?? headers.get("Last-Modified");
    const md5 = headers.get("Content-MD5");
    return {
      size,
      version: version === null
        ? undefined
        : (await sha256Of(new TextEncoder().encode(version))).slice(0, 16),
      md5: md5 === null
        ? undefined
        : Array.from(atob(md5), (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join(""),
    };
  });
}

function explain({ status, headers }: Response, url: string): HubError | PassingError {
  const { host } = new URL(url);
  if (status === 429 || status === 408 || status >= 500) {
    return new PassingError(
      "busy",
      `${host} answers ${status}`,
      "start again later, what has arrived is kept, or name a mirror with --comparisons",
      secondsToWait(headers),
    );
  }
  return new HubError(
    status === 404 ? "file" : "access",
    status === 404
      ? `There is no ${url}; --comparisons takes the URL of the folder in which OpenAI's batches lie.`
      : `${host} refuses ${url} (${status}); name a mirror, a folder or a dataset with --comparisons.`,
  );
}
