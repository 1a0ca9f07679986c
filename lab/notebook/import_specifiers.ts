/**
 * What a cell may import, and the address that it stands for:
 *
 *     npm:NAME@VERSION, npm:NAME@VERSION/PATH      a package of npm in exactly this version
 *     https://HOST/PATH                            a module at an address
 *
 * Both are what JupyterLab's Deno kernel takes as well.
 */

import type { LockedImport } from "./records.ts";

/** An import that cannot be had. The message is one sentence or two that name it and say what to do. */
export class ImportError extends Error {
  override name = "ImportError";

  /** @param absent there is nothing of that name, or nothing that runs here: what only may be imported does without */
  constructor(message: string, readonly absent = false) {
    super(message);
  }
}

/**
 * Who turns packages into modules for browsers. jsDelivr, since what it serves does not depend on who asks (esm.sh goes by the browser's
 * name where no target is given), and a dependency is a module at an exact version of its own, which packages share as they do in a folder of
 * npm's; esm.sh's `?bundle` puts a copy into each. Either may one day build a package anew, to other bytes: the lock notices.
 */
export const moduleHost = "cdn.jsdelivr.net";

const npm = /^npm:\/?((?:@[\w.~-]+\/)?[\w.~-]+)(?:@([^/]*))?((?:\/[\w.@+~-]+)*)$/;
const exact = /^\d+\.\d+\.\d+(?:-[\w.-]+)?(?:\+[\w.-]+)?$/;
const example = "npm:d3-array@3.2.4";

/** Longest address that is read, in characters. */
export const longestAddress = 2000;

/**
 * The address that a specifier stands for. What it leads to is another matter: see import_graph.ts.
 * @throws ImportError in words for whoever wrote it
 */
export function addressOf(specifier: string): string {
  const quoted = `"${specifier.slice(0, 200)}"`;
  if (specifier.startsWith("npm:")) {
    const [, name, version, path] = npm.exec(specifier) ?? [];
    if (name === undefined || /(^|\/)\.{1,2}(\/|$)/.test(name + path)) {
      throw new ImportError(`${quoted} names no package of npm: write it as in ${example}.`);
    }
    if (!exact.test(version ?? "")) {
      throw new ImportError(
        `${quoted} names no exact version: write all three numbers, as in ${example}; a range such as ^3 would come out ` +
          "otherwise tomorrow.",
      );
    }
    return `https://${moduleHost}/npm/${name}@${version}${path}/+esm`;
  }
  if (isModuleAddress(specifier)) return new URL(specifier).href;
  const what = /^[a-z][a-z+.-]*:/i.exec(specifier)?.[0];
  if (/^\.{0,2}\//.test(specifier)) {
    throw new ImportError(
      `${quoted} lies beside nothing: a notebook's imports are addresses or npm: packages.`,
    );
  }
  if (what === undefined) {
    throw new ImportError(
      `${quoted} does not say where it is from: a package of npm is written as in ${example}.`,
    );
  }
  throw new ImportError(`${quoted} cannot be imported: "precis" can, npm: packages, and https: addresses.`);
}

/** Whether a text is an address that a module may be at, written as a browser writes it. */
export function isModuleAddress(text: string): boolean {
  if (text.length > longestAddress || !text.startsWith("https://")) return false;
  try {
    const { protocol, username, password, hash } = new URL(text);
    return protocol === "https:" && username + password + hash === "";
  } catch {
    return false;
  }
}

/** An import that no lock has, where nothing else is to be had. */
export function notLocked(specifier: string): ImportError {
  try {
    addressOf(specifier);
  } catch (error) {
    return error as ImportError;
  }
  return new ImportError(
    `"${specifier}" is not in the notebook's import lock: deno task notebook lock FILE puts it there.`,
  );
}

/** Hosts that the modules of a lock are from, each once. */
export function hostsOf(lock: Record<string, Pick<LockedImport, "url" | "modules">>): string[] {
  const addresses = Object.values(lock).flatMap(({ url, modules = {} }) => [url, ...Object.keys(modules)]);
  return [...new Set(addresses.filter(isModuleAddress).map((address) => new URL(address).host))];
}
