/**
 * The modules of a kernel, linked where they run: each is there once, whoever imports it. They run in the realm of the cells, and can do what
 * cells can: all that they are given is here, and there is no more to be had than what the host has sent.
 */
import { ImportError } from "./import_specifiers.ts";

/** A module, compiled. Plain data, so that it can be sent to where it runs. */
export interface CompiledModule {
  /** Where it is from; modules are told apart by it. */
  address: string;
  /** Body of an async generator function, for `instantiate`. */
  code: string;
  /** Addresses of the modules that it imports, each once, in order of appearance. */
  needs: string[];
  /** Its import()s whose specifier is written out: that, and the address that it stands for. */
  later: [specifier: string, address: string][];
  exports: ModuleExport[];
  /** What it takes of those that it needs. */
  takes: Taken[];
  /** Of `needs`, by index, those all of whose exports it exports. */
  stars: number[];
}

/** An export of a module, by the index of that in `needs`; "*" is the whole of it. */
export interface Taken {
  from: number;
  as: string;
}

/** An export of a module's own, or of a module that it imports. */
export type ModuleExport = { name: string } | { name: string } & Taken;

/** A module as others see it: no prototype, and read only. */
export type Namespace = Record<string, unknown>;

/** What the host sends with a cell that imports something. */
export interface SentImports {
  /** Every specifier of the cell, with the address of its module, or why there is none. */
  specifiers: { specifier: string; address?: string; error?: string }[];
  /** Those modules, and all that they import. */
  modules: CompiledModule[];
}

/** Tells what it exports, imports later, knows its address, and has the namespaces of what it needs. */
type ModuleFunction = (
  tell: (exports: Record<string, unknown>) => void,
  later: (specifier: unknown) => Promise<Namespace>,
  meta: Readonly<{ url: string }>,
  needs: readonly Namespace[],
) => AsyncGenerator<void, void>;

/** Kept from the start: a kernel takes it away from cells. */
const AsyncGeneratorFunction = (async function* () {}).constructor as new (
  ...texts: string[]
) => ModuleFunction;

function instantiate(code: string): ModuleFunction {
  return new AsyncGeneratorFunction(
    "$precis_export",
    "$precis_import",
    "$precis_meta",
    "$precis_needs",
    code,
  );
}

interface Instance {
  module: CompiledModule;
  run: ModuleFunction;
  /** Its own exports, by name, as they are at the moment. */
  own: Record<string, unknown>;
  namespace?: Namespace;
  /** It has told its exports, and waits to run. */
  begun?: AsyncGenerator<void, void>;
  /** Settles once it has run. */
  ran?: Promise<unknown>;
}

/** An export, wherever it is from. */
interface Binding {
  read: () => unknown;
}

export class Modules {
  private readonly instances = new Map<string, Instance>();
  private readonly bindings = new Map<string, Binding>();

  /**
   * Takes modules that were sent. Those that are there stay: a lock says of an address one thing for good. The texts become functions here and
   * now, by nothing that cells could have changed the meaning of, such as the iterator of lists: whatever they make of the linking after
   * this, it can give them no code that was not sent.
   */
  add(modules: readonly CompiledModule[]): void {
    for (let i = 0; i < modules.length; i++) {
      const module = modules[i];
      let run: ModuleFunction;
      try {
        run = instantiate(module.code);
      } catch (error) {
        run = () => {
          throw error;
        };
      }
      if (!this.instances.has(module.address)) this.instances.set(module.address, { module, run, own: {} });
    }
  }

  /**
   * The namespace of a module that has run, with all that it imports.
   * @param specifier what errors call it
   * @throws ImportError, also with what the module threw
   */
  async import(address: string, specifier: string): Promise<Namespace> {
    const order: Instance[] = [];
    const entry = this.instance(address, specifier);
    this.order(entry, order, new Set());
    for (const instance of order) this.checkTaken(instance);
    let current = entry;
    try {
      // All of them tell what they export before the first of them runs.
      for (current of order) current.begun ??= this.begin(current);
      for (current of order) await (current.ran ??= current.begun!.next());
    } catch (error) {
      const { name, message } = error instanceof Error ? error : { name: "it threw", message: String(error) };
      const where = current === entry ? "" : `, in ${current.module.address}`;
      throw new ImportError(`"${specifier}" failed as it was loaded${where}: ${name}: ${message}`);
    }
    return this.namespaceOf(entry);
  }

  private instance(address: string, importer: string): Instance {
    const instance = this.instances.get(address);
    if (instance) return instance;
    throw new ImportError(`${importer} imports ${address}, which the notebook's import lock does not have.`);
  }

  private need({ module }: Instance, index: number): Instance {
    return this.instance(module.needs[index], module.address);
  }

  /** A module after all that it needs; in a circle, after those that were not asked for yet. */
  private order(instance: Instance, order: Instance[], seen: Set<Instance>): void {
    if (seen.has(instance)) return;
    seen.add(instance);
    instance.module.needs.forEach((_, i) => this.order(this.need(instance, i), order, seen));
    order.push(instance);
  }

  private begin(instance: Instance): AsyncGenerator<void, void> {
    const { run, module: { address, needs, later } } = instance;
    const addresses = new Map(later);
    const body = run(
      (own) => instance.own = own,
      // Not async: what is asked for cannot be had before the module goes on.
      (specifier) => {
        const found = addresses.get(String(specifier));
        if (found !== undefined) return this.import(found, String(specifier));
        return Promise.reject(
          new ImportError(
            `${address} imports "${
              String(specifier).slice(0, 200)
            }", which the notebook's import lock does not have.`,
          ),
        );
      },
      Object.freeze({ __proto__: null, url: address }) as unknown as Readonly<{ url: string }>,
      needs.map((_, i) => this.namespaceOf(this.need(instance, i))),
    );
    body.next();
    return body;
  }

  /** @throws ImportError where a module takes what another does not export */
  private checkTaken({ module }: Instance): void {
    for (const { from, as } of module.takes) {
      const giver = this.instance(module.needs[from], module.address);
      if (as === "*" || this.find(giver, as, new Set())) continue;
      throw new ImportError(
        `${module.address} takes "${as}" of ${giver.module.address}, which exports nothing, or two things, of that name.`,
      );
    }
  }

  /** Where an export comes from; null where there is none, or two modules export different ones without choosing. */
  private find(instance: Instance, name: string, seen: Set<string>): Binding | null {
    const key = `${instance.module.address}\n${name}`;
    if (seen.has(key)) return null;
    seen.add(key);
    const { exports, stars } = instance.module;
    const one = exports.find((one) => one.name === name);
    if (one && "from" in one) {
      const from = this.need(instance, one.from);
      if (one.as !== "*") return this.find(from, one.as, seen);
      return this.binding(`${from.module.address}\n*`, () => this.namespaceOf(from));
    }
    if (one) return this.binding(key, () => instance.own[name]);
    // A star does not export "default".
    const found = name === "default"
      ? []
      : stars.map((i) => this.find(this.need(instance, i), name, seen)).filter((one) => one !== null);
    return found.every((one) => one === found[0]) ? found[0] ?? null : null;
  }

  /** One for each binding, so that two ways to the same one are no two. */
  private binding(key: string, read: () => unknown): Binding {
    let binding = this.bindings.get(key);
    if (!binding) this.bindings.set(key, binding = { read });
    return binding;
  }

  private namesOf(instance: Instance, seen: Set<Instance>): Set<string> {
    if (seen.has(instance)) return new Set();
    seen.add(instance);
    const names = new Set(instance.module.exports.map(({ name }) => name));
    for (const i of instance.module.stars) {
      for (const name of this.namesOf(this.need(instance, i), seen)) if (name !== "default") names.add(name);
    }
    return names;
  }

  private namespaceOf(instance: Instance): Namespace {
    if (instance.namespace) return instance.namespace;
    const namespace: Namespace = Object.create(null);
    // There before its exports are looked up: a module may export itself.
    instance.namespace = namespace;
    for (const name of [...this.namesOf(instance, new Set())].sort()) {
      const found = this.find(instance, name, new Set());
      if (found) Object.defineProperty(namespace, name, { get: found.read, enumerable: true });
    }
    Object.defineProperty(namespace, Symbol.toStringTag, { value: "Module" });
    return Object.preventExtensions(namespace);
  }
}
