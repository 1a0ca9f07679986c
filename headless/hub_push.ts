/**
 * Uploads a folder to a model repository of the Hugging Face Hub, with `@huggingface/hub`, as one commit: either all of it is there or
 * nothing. Large files go by LFS, part by part from the disk; the Hub takes them into its Xet storage itself.
 */
import { commit, createRepo, HubApiError } from "@huggingface/hub";
import { toFileUrl } from "deno-std/path/mod.js";
import { formatBytes } from "../lab/format.ts";
import type { Progress } from "../lab/progress.ts";
import { HubError } from "./hub_errors.ts";
import type { HubSettings } from "./hub_settings.ts";

export interface PushOptions {
  settings: Pick<HubSettings, "endpoint" | "token" | "tokenFrom" | "offline">;
  progress: Progress;
  /** Of a repository that is made; one that is there stays as it is. */
  private: boolean;
}

/** @throws RangeError where this cannot be the name of a repository */
export function checkRepositoryName(name: string): void {
  if (!/^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(name) || /--|\.\./.test(name)) {
    throw new RangeError(
      `--push ${name} names no repository; it should be owner/name, such as --push your-name/tldr-ppo.`,
    );
  }
}

/** @throws HubError in one sentence where there is no token, or where nothing may be sent */
export function requireToken({ endpoint, token, offline }: PushOptions["settings"]): string {
  if (offline) {
    throw new HubError("offline", "HF_HUB_OFFLINE is set, and --push needs the Hub; leave one of them out.");
  }
  if (!token) {
    throw new HubError(
      "access",
      `--push needs a token with write access: make one at ${endpoint}/settings/tokens and set HF_TOKEN to it.`,
    );
  }
  if (!token.startsWith("hf_")) {
    throw new HubError(
      "access",
      'The token of the Hugging Face Hub should begin with "hf_"; check HF_TOKEN.',
    );
  }
  return token;
}

/**
 * Makes the repository if need be and commits every file under the folder.
 * @returns the commit's page
 * @throws HubError in one sentence with the remedy
 */
export async function pushFolder(folder: string, name: string, options: PushOptions): Promise<string> {
  checkRepositoryName(name);
  const { settings, progress } = options;
  const accessToken = requireToken(settings);
  const repo = { type: "model", name } as const;
  const access = { accessToken, hubUrl: settings.endpoint };
  const operations = (await filesIn(folder)).map((path) => ({
    operation: "addOrUpdate" as const,
    path,
    content: toFileUrl(`${folder}/${path}`),
  }));
  let size = 0, sent = 0;
  for (const { content } of operations) size += (await Deno.stat(content)).size;
  const stage = progress.stage("push", { steps: size, unit: "bytes" });
  /** Counts what has gone to storage: the library tells only of hashing. */
  const counting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (init?.method === "PUT" && response.ok && init.body instanceof Blob) {
      stage.step(sent += init.body.size);
    }
    return response;
  };
  try {
    try {
      await createRepo({ repo, ...access, visibility: options.private ? "private" : undefined });
    } catch (error) {
      if (!(error instanceof HubApiError && error.statusCode === 409)) throw error;
      progress.note(`${name} exists already: this becomes a further commit.`);
    }
    const { commit: made } = (await commit({
      repo,
      ...access,
      title: "Export from Précis",
      operations,
      useXet: false,
      fetch: counting,
    }))!;
    stage.done(`${operations.length} files of ${formatBytes(size)} in all`);
    return made.url;
  } catch (error) {
    throw explained(error, folder, name, settings);
  }
}

/** Paths of all files below a folder, hidden ones left out, sorted. */
async function filesIn(folder: string, below = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${below}`)) {
    if (name.startsWith(".")) continue;
    if (isDirectory) found.push(...await filesIn(folder, `${below}${name}/`));
    else found.push(below + name);
  }
  return found.sort();
}

function explained(error: unknown, folder: string, name: string, settings: PushOptions["settings"]): unknown {
  const host = new URL(settings.endpoint).host;
  const again = `then push again with deno task export --out ${folder} --push ${name}`;
  const cause = { cause: error };
  if (error instanceof HubApiError) {
    const { statusCode } = error;
    if (statusCode === 401) {
      return new HubError(
        "access",
        `${host} does not accept the token in ${settings.tokenFrom}; make one with write access at ` +
          `${settings.endpoint}/settings/tokens, ${again}.`,
        cause,
      );
    }
    if (statusCode === 403) {
      return new HubError(
        "access",
        `The token in ${settings.tokenFrom} may not write to ${name}; it needs write access, and its account must be ` +
          `${name.split("/")[0]} or belong to it: change one of them, ${again}.`,
        cause,
      );
    }
    if (statusCode === 409 || statusCode === 412) {
      return new HubError(
        "busy",
        `${name} was changed by someone else during the upload, and nothing was committed; see what it holds, ${again}.`,
        cause,
      );
    }
    const said = String(error.data?.error ?? error.data?.message ?? "").replace(/\s+/g, " ").trim().slice(
      0,
      200,
    );
    return new HubError(
      "busy",
      `${host} answered ${statusCode}${
        said && ` (${said.replace(/\.$/, "")})`
      }, and nothing was committed; wait a while, ${again}.`,
      cause,
    );
  }
  if (
    error instanceof TypeError ||
    (error instanceof Error && /^(?:Http|Connection\w+|TimedOut)$/.test(error.name))
  ) {
    return new HubError(
      "unreachable",
      `${host} cannot be reached (${
        error.message.replace(/\.$/, "")
      }), and nothing was committed; see to the network, ${again}.`,
      cause,
    );
  }
  return error;
}
