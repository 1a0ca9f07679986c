/** What the environment says about the Hub, by the names that all of Hugging Face's tools use. */
import { homedir } from "node:os";

export interface HubSettings {
  /** Without a slash at its end. */
  endpoint: string;
  /** $HF_HOME. */
  home: string;
  /** Where repositories are kept. */
  cache: string;
  /** Where libraries keep what is in no repository. */
  assets: string;
  token?: string;
  /** Where the token was found: "HF_TOKEN" or a file. */
  tokenFrom?: string;
  /** Nothing may be asked of the network. */
  offline: boolean;
}

/** Reads the settings. A variable that is set but empty counts as not set. */
export async function hubSettings(env: (name: string) => string | undefined): Promise<HubSettings> {
  const first = (...names: string[]) => names.map(env).find((value) => value);
  const path = (...names: string[]) => {
    const value = first(...names);
    return value?.replace(/^~(?=\/|$)/, homedir()).replace(
      /\$(?:(\w+)|\{(\w+)\})/g,
      (whole, bare, braced) => env(bare ?? braced) ?? whole,
    ).replace(/(.)\/+$/, "$1");
  };
  const home = path("HF_HOME") ?? `${path("XDG_CACHE_HOME") ?? `${homedir()}/.cache`}/huggingface`;
  const tokenFile = path("HF_TOKEN_PATH") ?? `${home}/token`;
  let token = first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")?.trim();
  let tokenFrom = token && (env("HF_TOKEN") ? "HF_TOKEN" : "HUGGING_FACE_HUB_TOKEN");
  if (!token && !isTrue(env("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    token = (await Deno.readTextFile(tokenFile).catch(() => "")).trim() || undefined;
    tokenFrom = token && tokenFile;
  }
  return {
    endpoint: (first("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, ""),
    home,
    cache: path("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? `${home}/hub`,
    assets: path("HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE") ?? `${home}/assets`,
    token: token || undefined,
    tokenFrom: tokenFrom || undefined,
    offline: isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
  };
}

const isTrue = (value: string | undefined) => /^(1|on|yes|true)$/i.test(value ?? "");
