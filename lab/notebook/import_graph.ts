/**
 * The modules that a notebook's imports stand for: fetched, held against the lock, kept, compiled. The host does all of it; a sandbox is
 * handed what came of it (`SentImports`) and fetches nothing.
 *
 *     const imports = new Imports(source, { mayFetch: host => boolean })
 *     imports.lock(specifier, others): Promise<Graph>    asks the network what it stands for now
 *     imports.locked(specifier, entry): Promise<Graph>   exactly what the lock says, from where it is kept or from the network
 *     imports.prepare(cellImports, lock, mayLock): Promise<{ sent, locked }>   for a cell that is about to run
 */
import { shortened } from "../bytes.ts";
import { joinedBytes } from "../joined_bytes.ts";
import type { CellImport } from "./cells.ts";
import { addressOf, ImportError, isModuleAddress, notLocked } from "./import_specifiers.ts";
import { compileModule } from "./module_compiler.ts";
import type { CompiledModule, SentImports } from "./module_link.ts";
import { importLimits, type LockedImport, type NotebookRecord } from "./records.ts";

/** Where modules come from, and where they are kept: by their integrity, so that nobody has to believe the keeper. */
export interface ModuleSource {
  /** As the `fetch` of browsers does, following redirections, without credentials. */
  fetch(address: string, signal: AbortSignal): Promise<Response>;
  /** What is kept, or undefined. */
  read(integrity: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Keeps it, if there is room. */
  keep(integrity: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** What messages call the place where modules are kept. */
  readonly place: string;
}

/** A specifier with all that it stands for. */
export interface Graph {
  locked: LockedImport;
  /** That of the specifier first. */
  modules: CompiledModule[];
  /** Of all of them. */
  bytes: number;
}

/** The specifier that the kernel itself answers. */
export const kernelSpecifier = "precis";

export interface ImportOptions {
  /** Whether modules may be fetched from a host: by the grant of the notebook. */
  mayFetch: (host: string) => boolean;
  /** Milliseconds after which a server is given up. */
  patience?: number;
  /** Told how many modules of a specifier are there, of those that are known of so far. */
  progress?: (done: number, total: number, specifier: string) => void;
}

/** Modules that are fetched at once. */
const atOnce = 6;

interface Fetched {
  /** After redirections. */
  address: string;
  integrity: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** What a lock has of a module. */
interface Wanted {
  integrity: string;
  /** What would have to be locked anew if it is something else by now: a specifier, or all. */
  update: string;
}

export class Imports {
  /** By integrity and address, what was compiled once. */
  private readonly compiled = new Map<string, CompiledModule>();

  constructor(private readonly source: ModuleSource, private readonly options: ImportOptions) {}

  /**
   * What a cell that is about to run is to be sent, and what was locked for it.
   * @param mayLock whether what is not locked may be looked for; a stranger's notebook has what its lock has and no more
   */
  async prepare(
    imports: readonly CellImport[],
    lock: NotebookRecord["imports"],
    mayLock: boolean,
  ): Promise<{ sent: SentImports; locked: Record<string, LockedImport> }> {
    const sent: SentImports = { specifiers: [], modules: [] };
    const locked: Record<string, LockedImport> = {};
    let bytes = 0;
    for (const specifier of new Set(imports.map(({ specifier }) => specifier))) {
      if (specifier === kernelSpecifier) continue;
      try {
        const entry = Object.hasOwn(lock, specifier) ? lock[specifier] : undefined;
        if (!entry && !mayLock) throw notLocked(specifier);
        const graph = entry
          ? await this.locked(specifier, entry)
          : await this.lock(specifier, { ...lock, ...locked });
        bytes += graph.bytes;
        if (bytes > importLimits.cellBytes) {
          throw new ImportError(
            `"${specifier}" is too much: what a cell imports may have ${
              importLimits.cellBytes >> 20
            } MiB in all.`,
          );
        }
        if (!entry) locked[specifier] = graph.locked;
        sent.specifiers.push({ specifier, address: graph.locked.url });
        sent.modules.push(...graph.modules);
      } catch (error) {
        if (!(error instanceof ImportError)) throw error;
        // An import() may be in a `try`, or never be come to: whether it fails the cell is the cell's.
        sent.specifiers.push({ specifier, error: error.message });
      }
    }
    return { sent, locked };
  }

  /**
   * Looks up what a specifier stands for.
   * @param others what else is locked in the notebook: of a module that is in there, too, it is one and the same
   * @throws ImportError in words for whoever wrote it
   */
  async lock(specifier: string, others: NotebookRecord["imports"] = {}): Promise<Graph> {
    const known = new Map<string, string>(), led = new Map<string, string>();
    for (const { url, integrity, modules = {}, redirects = {} } of Object.values(others)) {
      for (const [address, its] of [[url, integrity], ...Object.entries(modules)]) known.set(address, its);
      for (const [address, target] of Object.entries(redirects)) led.set(address, target);
    }
    const redirects: Record<string, string> = {};
    const integrities: Record<string, string> = {};
    const graph = await this.walk(specifier, addressOf(specifier), async (asked) => {
      const address = led.get(asked) ?? asked, wanted = known.get(address);
      const fetched = wanted === undefined
        ? await this.fetch(specifier, asked)
        : await this.verified(specifier, address, { integrity: wanted, update: "all" });
      if (fetched.address !== asked) redirects[asked] = fetched.address;
      integrities[fetched.address] = fetched.integrity;
      return fetched;
    });
    const [{ address: url }, ...rest] = graph.modules;
    const modules = Object.fromEntries(rest.map(({ address }) => [address, integrities[address]]));
    return {
      ...graph,
      locked: {
        url,
        integrity: integrities[url],
        ...(rest.length > 0 && { modules }),
        ...(Object.keys(redirects).length > 0 && { redirects }),
      },
    };
  }

  /**
   * Exactly what a lock says that a specifier stands for.
   * @throws ImportError where it cannot be had, or is something else now
   */
  async locked(specifier: string, entry: LockedImport): Promise<Graph> {
    const { url, integrity, modules = {}, redirects = {} } = entry;
    const graph = await this.walk(specifier, url, async (asked) => {
      const address = Object.hasOwn(redirects, asked) ? redirects[asked] : asked;
      const wanted = address === url
        ? integrity
        : Object.hasOwn(modules, address)
        ? modules[address]
        : undefined;
      if (wanted === undefined) {
        throw new ImportError(
          `"${specifier}" imports ${address}, which the import lock does not have. ${remedy(specifier)}`,
          true,
        );
      }
      return await this.verified(specifier, address, { integrity: wanted, update: specifier });
    });
    return { ...graph, locked: entry };
  }

  /**
   * A module and all that it imports, each once: first what it needs to run, then what is only imported as it runs, if there is such a thing.
   * @param get by the address that is asked for
   */
  private async walk(
    specifier: string,
    entry: string,
    get: (address: string) => Promise<Fetched>,
  ): Promise<Omit<Graph, "locked">> {
    const modules = new Map<string, CompiledModule>();
    /** By the address that was asked for, where it led; undefined where there is nothing. */
    const led = new Map<string, string | undefined>();
    let bytes = 0;
    const take = async (asked: string, later: boolean): Promise<string[]> => {
      led.set(asked, undefined);
      try {
        const fetched = await get(asked);
        led.set(asked, fetched.address);
        if (modules.has(fetched.address)) return [];
        const module = this.compile(specifier, fetched);
        modules.set(fetched.address, module);
        bytes += fetched.bytes.length;
        return [...module.needs, ...(later ? laterOf(module) : [])];
      } catch (error) {
        if (later && error instanceof ImportError && error.absent) return [];
        throw error;
      }
    };
    for (const later of [false, true]) {
      let asked = later ? [...modules.values()].flatMap(laterOf) : [entry];
      while (asked.length > 0) {
        asked = [...new Set(asked)].filter((address) => !led.has(address) && !modules.has(address));
        const wave = asked.splice(0, atOnce);
        const further = await Promise.all(wave.map((address) => take(address, later)));
        asked.push(...further.flat());
        this.options.progress?.(modules.size, modules.size + new Set(asked).size, specifier);
        if (modules.size > importLimits.modules || bytes > importLimits.bytes) {
          throw new ImportError(
            `"${specifier}" stands for more than ${importLimits.modules} modules or ${
              importLimits.bytes >> 20
            } MiB; import a part of it, such as one file of the package, or a smaller package.`,
          );
        }
      }
    }
    const at = (address: string) => led.get(address) ?? address;
    const linked = Array.from(modules.values(), (module): CompiledModule => ({
      ...module,
      needs: module.needs.map(at),
      later: module.later.map(([specifier, address]) => [specifier, at(address)]),
    }));
    return { modules: linked, bytes };
  }

  private compile(specifier: string, { address, integrity, bytes }: Fetched): CompiledModule {
    const key = `${integrity} ${address}`;
    let module = this.compiled.get(key);
    if (module) return module;
    try {
      module = compileModule(address, new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (error) {
      if (error instanceof TypeError) {
        throw new ImportError(`"${specifier}" is no JavaScript: ${address} is not UTF-8 text.`, true);
      }
      if (error instanceof ImportError) {
        throw new ImportError(`"${specifier}" cannot be linked: ${error.message}`, true);
      }
      throw error;
    }
    this.compiled.set(key, module);
    return module;
  }

  /** A module that is locked. */
  private async verified(specifier: string, address: string, wanted: Wanted): Promise<Fetched> {
    const { integrity, update } = wanted;
    const kept = await this.source.read(integrity);
    // What is kept and not what it should be is damaged, and had anew.
    if (kept && await integrityOf(kept, integrity) === integrity) return { address, integrity, bytes: kept };
    const fetched = await this.fetch(specifier, address, wanted);
    if (fetched.address !== address) {
      const now = shortened(fetched.address);
      throw new ImportError(
        `"${specifier}" is locked at ${address}, and that leads to ${now} now. ${remedy(update)}`,
      );
    }
    return fetched;
  }

  /** Fetches a module and keeps it. */
  private async fetch(specifier: string, address: string, wanted?: Wanted): Promise<Fetched> {
    const { patience = 30_000, mayFetch } = this.options;
    const host = isModuleAddress(address) ? new URL(address).host : "";
    if (host === "") {
      throw new ImportError(`"${specifier}" cannot be had: ${shortened(address)} is no https address.`);
    }
    if (!mayFetch(host)) {
      throw new ImportError(
        `"${specifier}" is a module of ${host}, and this notebook may not have modules from there; whoever runs it would have to allow it.`,
      );
    }
    const refuse = (why: string, absent = false): never => {
      const missing = wanted ? ` It is not kept in ${this.source.place} either.` : "";
      throw new ImportError(`"${specifier}" cannot be had: ${address} ${why}.${missing}`, absent && !wanted);
    };
    const signal = AbortSignal.timeout(patience);
    let final: string, bytes: Uint8Array<ArrayBuffer> | null;
    try {
      const response = await this.source.fetch(address, signal);
      final = response.url || address;
      if (!response.ok) {
        await response.body?.cancel();
        if (response.status === 404) {
          return refuse("does not exist (404): look at name, version and path", true);
        }
        return refuse(`is answered with status ${response.status}: try again later`);
      }
      bytes = await bodyOf(response);
    } catch (error) {
      if (error instanceof ImportError) throw error;
      if (signal.aborted) return refuse(`did not come within ${patience / 1000} s: try again later`);
      return refuse(
        "is not answered: look whether there is a network, and whether that server lets pages of other sites read it",
      );
    }
    if (bytes === null) return refuse(`has more than ${importLimits.moduleBytes >> 20} MiB`);
    if (!isModuleAddress(final)) return refuse(`leads to ${shortened(final)}, which is no https address`);
    const integrity = await integrityOf(bytes, wanted?.integrity);
    if (wanted && integrity !== wanted.integrity) {
      throw new ImportError(
        `"${specifier}" is not what was locked: at ${address} was ${wanted.integrity}, and there is ${integrity} now. ${
          remedy(wanted.update)
        }`,
      );
    }
    await this.source.keep(integrity, bytes);
    return { address: final, integrity, bytes };
  }
}

const laterOf = ({ later }: CompiledModule) => later.map(([, address]) => address);

/** What to do where a lock does not hold. @param update what would have to be locked anew */
function remedy(update: string): string {
  return `If what is there now is right, lock it anew: deno task notebook lock FILE --update ${update}.`;
}

/** The integrity of bytes, as HTML writes it: SHA-384 unless `like` has another. */
async function integrityOf(bytes: Uint8Array<ArrayBuffer>, like = "sha384-"): Promise<string> {
  const kind = like.slice("sha".length, like.indexOf("-"));
  const digest = new Uint8Array(await crypto.subtle.digest(`SHA-${kind}`, bytes));
  return `sha${kind}-${btoa(String.fromCharCode(...digest))}`;
}

/** The body of a response, or null where it is too long. */
async function bodyOf(response: Response): Promise<Uint8Array<ArrayBuffer> | null> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (let piece = await reader?.read(); piece?.value; piece = await reader!.read()) {
    pieces.push(piece.value);
    length += piece.value.length;
    if (length > importLimits.moduleBytes) {
      await reader!.cancel();
      return null;
    }
  }
  return joinedBytes(pieces);
}
