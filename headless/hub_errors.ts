/** What can go wrong with the Hub, in one sentence each with what to do about it. */
import type { Repository } from "./hub_cache.ts";
import type { HubSettings } from "./hub_settings.ts";

/**
 * What failed: `repository`, `revision` and `file` were not found, `access` was refused, `busy` is what passes by itself, `unreachable` no
 * answer at all, `damaged` wrong bytes, `disk` the cache, `name` no name of anything, `offline` not in the cache and nothing may be asked.
 */
export type HubFault =
  | "repository"
  | "revision"
  | "file"
  | "access"
  | "busy"
  | "unreachable"
  | "damaged"
  | "disk"
  | "name"
  | "offline";

/** The Hub, or what came from it, cannot be used. The message is one sentence with the remedy. */
export class HubError extends Error {
  override name = "HubError";
  constructor(readonly fault: HubFault, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The user has stopped the fetching. The message says what is kept, and how to go on. */
export class FetchStopped extends Error {
  override name = "FetchStopped";
}

/** A failure that may be gone in a moment. */
export class PassingError extends Error {
  /**
   * @param said what happened: "huggingface.co answered 503"
   * @param remedy what to do if it does not pass
   * @param after seconds that the server asks to wait
   */
  constructor(
    readonly fault: "busy" | "unreachable",
    readonly said: string,
    readonly remedy: string,
    readonly after?: number,
  ) {
    super(said);
  }
}

/** What was asked for. */
export interface Subject {
  repository: Repository;
  revision: string;
  /** Of a single file. */
  path?: string;
}

/** "model Qwen/Qwen2.5-0.5B". */
export const nameOf = ({ kind, name }: Repository) => `${kind} ${name}`;

/** The page of a repository. */
export function pageOf({ endpoint }: Pick<HubSettings, "endpoint">, { kind, name }: Repository): string {
  return `${endpoint}/${kind === "dataset" ? "datasets/" : ""}${name}`;
}

/**
 * The error for an answer that is none, for good or for now, from status, `X-Error-Code` and `X-Error-Message` as the Hub sends them.
 * Where something was not found (`repository`, `revision`, `file`) the sentence is left open, for who asked knows what is near.
 */
export function explainAnswer(
  response: Response,
  { repository, revision, path }: Subject,
  settings: HubSettings,
): HubError | PassingError {
  const { status, headers } = response;
  const host = new URL(response.url || settings.endpoint).host;
  const what = nameOf(repository);
  const code = headers.get("X-Error-Code");
  const { token, tokenFrom } = settings;
  if (code === "GatedRepo") {
    const login = token
      ? `the account of the token in ${tokenFrom}`
      : "your account, and set HF_TOKEN to one of its tokens";
    return new HubError(
      "access",
      `${capital(what)} is gated: accept its conditions at ${pageOf(settings, repository)} with ${login}.`,
    );
  }
  if (headers.get("X-Error-Message")?.includes("Invalid credentials") || (status === 401 && token)) {
    return new HubError(
      "access",
      `${host} does not accept the token in ${tokenFrom}; put a valid one there (${settings.endpoint}/settings/tokens), ` +
        `or take it away: public repositories need none.`,
    );
  }
  if (code === "RevisionNotFound") {
    return new HubError("revision", `${capital(what)} has no revision ${revision}`);
  }
  if (code === "EntryNotFound" || (status === 404 && path !== undefined && code === null)) {
    return new HubError("file", `${capital(what)} has no file ${path} at revision ${revision}`);
  }
  if (code === "RepoNotFound" || status === 404 || status === 401) {
    return new HubError(
      "repository",
      `There is no ${what} on ${host}${token ? "" : " to be read without a token"}`,
    );
  }
  if (status === 429) {
    return new PassingError(
      "busy",
      `${host} answers 429, too many requests`,
      token ? "wait some minutes and start again" : "wait some minutes, or set HF_TOKEN for a higher limit",
      secondsToWait(headers),
    );
  }
  // A signed address of a storage host that has run out is signed anew at the next try.
  const expired = status === 403 && host !== new URL(settings.endpoint).host;
  if (status >= 500 || status === 408 || expired) {
    return new PassingError(
      "busy",
      `${host} answers ${status}`,
      "it seems to be out of order: start again later, what has arrived is kept",
      secondsToWait(headers),
    );
  }
  const message = headers.get("X-Error-Message");
  return new HubError(
    "access",
    `${host} answers ${status} to ${path ?? "a question about"} ${path ? "of " : ""}${what}${
      message ? `: ${message.replace(/[.\s]+$/, "")}` : ""
    }; look at ${pageOf(settings, repository)}${
      token ? ` and at what the token in ${tokenFrom} may do` : ""
    }.`,
  );
}

/** Seconds from `Retry-After` (a number or a date), or from the Hub's `RateLimit: "api";r=0;t=55`. */
export function secondsToWait(headers: Headers): number | undefined {
  const after = headers.get("Retry-After");
  if (after !== null) {
    const seconds = /^\d+$/.test(after.trim()) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
    if (Number.isFinite(seconds)) return Math.max(0, Math.ceil(seconds));
  }
  const left = /;\s*t=(\d+)/.exec(headers.get("RateLimit") ?? "");
  return left ? Number(left[1]) : undefined;
}

/** The error where no answer came. */
export function explainSilence(error: unknown, url: string): PassingError {
  const host = new URL(url).host;
  const why = [error, (error as Error | null)?.cause].map((e) => String((e as Error | null)?.message ?? e))
    .join(" ");
  const reason = /dns error|name or service not known|failed to lookup/i.test(why)
    ? "its name cannot be resolved"
    : /refused/i.test(why)
    ? "it refuses the connection"
    : /certificate|tls|ssl/i.test(why)
    ? "no secure connection to it can be made"
    : /timed out|timeout|no answer/i.test(why)
    ? "no answer came in time"
    : "the connection failed";
  return new PassingError(
    "unreachable",
    `${host} cannot be reached (${reason})`,
    "check the network or proxy, name a mirror with HF_ENDPOINT, or give a local folder",
  );
}

/** A sentence about a fault of the disk under the cache, with what to do; other errors come back as they are. */
export function explainCacheError(error: unknown, path: string): unknown {
  const code = String((error as { code?: unknown } | null)?.code ?? "");
  const why = {
    ENOSPC: "no space is left on its disk; free some",
    EDQUOT: "your disk quota is used up; free some space",
    EFBIG: "its disk does not take files of that size; choose another",
    EACCES: "permission is denied; change the folder's permissions",
    EPERM: "the system does not permit it; change the folder's permissions",
    EROFS: "its disk is mounted read-only; choose another",
    ENOTDIR: "part of the path is a file; move that",
    EEXIST: "a file is in the way; move that",
    EIO: "the disk reported a fault; check the disk",
  }[code];
  if (!why) return error;
  return new HubError(
    "disk",
    `Could not write ${path}: ${why} or name another place with HF_HOME; what has arrived is kept.`,
    { cause: error },
  );
}

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
