/**
 * The host's side of the `lab` that cells see: it answers their calls on a workbench. What a cell makes belongs to that cell and is freed
 * when the cell runs again. Calls of a notebook are answered one after the other, so that what it computes depends on nothing but its order.
 *
 *     const host = labObject(bench, { seed: 7, grant: strangersGrant, versions: {} });
 *     serveLab(port, host)                    answers a kernel at the other end of a MessagePort (wire.ts)
 *     new Lab(directly(host), () => cell)     the same without a port, in this very place (lab.ts, transport.ts)
 *
 * To add a kind of thing that cells hold (a trainer, say): a class that is {@link Held}, a table of its methods in `tables` below, a
 * method of the lab that makes it, and a class of the same name in handles.ts for the cell's end. Methods get the checked arguments and
 * return plain data, Held things, or arrays and records of them.
 */
import { joinPath, parseJson } from "../bytes.ts";
import { loadDemoData } from "../dataset.ts";
import type { Derivation } from "../live/derivation.ts";
import { type Place, quantities, trace } from "../live/trace.ts";
import { loadTokenizer } from "../tokenizer.ts";
import type { Workbench } from "../workbench.ts";
import { Arguments, Options } from "./arguments.ts";
import { gradients } from "./differentiate.ts";
import { defaultTolerance, logitTolerance, recordGreedy, recordValue, stackDigest } from "./digests.ts";
import { type Grant, requireHost, requireModel, requireStorage } from "./grant.ts";
import { type DrawingRule, HeldModel } from "./held_model.ts";
import { HeldTensor, mostValues } from "./held_tensor.ts";
import { ops } from "./ops.ts";
import {
  goldOf,
  makeMicroscope,
  makeTrainer,
  microscopeMethods,
  type Stock,
  trainerMethods,
  xrayOf,
} from "./held_training.ts";
import { kernelsDigest } from "./kernels_digest.ts";
import { type Held, Session } from "./session.ts";
import { compileUserKernel, contained, type Dispatch, type UserKernel } from "./user_kernel.ts";
import { type LabEvent, type LabHost, type LabRequest, readArgument } from "./wire.ts";

export interface LabOptions {
  /** Of the notebook: 32 bits. */
  seed: number;
  grant: Grant;
  /** What runs here, for `lab.facts()`: { precis, deno } or { precis, browser }. */
  versions: Record<string, string>;
}

/** The host of one open notebook. */
export interface Lab extends LabHost {
  /** Digests of the models that were opened, by place: what a certificate names. */
  models(): Promise<Record<string, string>>;
  /** Milliseconds in which the device worked for a cell, since it last began. */
  gpuMilliseconds(cell: string): number;
  /** What the notebook's handles hold. */
  memory(): ReturnType<Session["memory"]>;
  /** Resolves once every call that was made so far is answered: its work on the device has ended. */
  settled(): Promise<void>;
  /** Frees everything that cells made: a clean start. Calls that are still being answered should be {@link settled}. */
  reset(): void;
}

type Method<H> = (held: H, args: Arguments, session: Session) => unknown;

export function labObject(bench: Workbench, { seed, grant, versions }: LabOptions): Lab {
  let session = new Session(bench, seed, grant);
  const opened = new Map<string, HeldModel>();
  const gpuTime = new Map<string, number>();
  let last: Promise<unknown> = Promise.resolve();

  const labMethods: Record<string, Method<null>> = {
    async facts() {
      const gpu = await session.gpu();
      const { adapter, runtime, software, f16, subgroups, timestamps, vendor, driver } = gpu.facts;
      return {
        adapter,
        runtime,
        software,
        vendor,
        driver,
        features: { f16, subgroups, timestamps },
        kernels: await kernelsDigest(),
        versions: { ...versions },
        seed,
      };
    },

    async model(_, args) {
      return await openModel(args.text(0, "the place"), args.callback(1, "onBytes"));
    },

    async encode(_, args) {
      return (await tokenizerOf(args.get(1) === undefined ? "base" : args.text(1, "the place"))).encode(
        args.text(0, "the text"),
      );
    },

    async decode(_, args) {
      const tokenizer = await tokenizerOf(args.get(1) === undefined ? "base" : args.text(1, "the place"));
      return tokenizer.decode(args.ids(0, "the ids"));
    },

    async tokens(_, args) {
      const tokenizer = await tokenizerOf(args.get(1) === undefined ? "base" : args.text(1, "the place"));
      return args.ids(0, "the ids").map((id) => tokenizer.decodeToken(id));
    },

    async posts(_, args) {
      const { posts } = await demoData();
      return part(args, args.text(0, "the split"), posts);
    },

    async pairs(_, args) {
      const { pairs } = await demoData();
      const { cnndm: _none, ...splits } = pairs;
      return part(args, args.text(0, "the split"), splits);
    },

    async read(_, args) {
      const path = args.text(0, "the path");
      const as = args.options(1).only("as").choice("as", ["json", "text", "bytes"], "json");
      if (path.split("/").some((step) => step === ".." || step === "") || /[\\:%]/.test(path)) {
        throw args.wrong("the path", "a path below the notebooks' folder, such as data/curve.json", path);
      }
      const { files, folder } = bench.world.shipped;
      return content(path, await files.read(joinPath(folder, "notebooks", path)), as);
    },

    async fetch(_, args) {
      const address = args.text(0, "the address");
      const as = args.options(1).only("as").choice("as", ["json", "text", "bytes"], "json");
      if (!URL.canParse(address)) throw args.wrong("the address", "a URL", address);
      requireHost(grant, new URL(address));
      // A redirection could lead to a host that was not granted.
      const response = await fetch(address, { redirect: "error", credentials: "omit" });
      if (!response.ok) throw new Error(`${address} answered ${response.status} ${response.statusText}.`);
      return content(address, new Uint8Array(await response.arrayBuffer()), as);
    },

    async tensor(_, args) {
      const { data, shape } = numbersOf(args);
      const name = args.options(2).only("name").text("name", "tensor");
      session.meter.requireBytes(data.byteLength, name);
      const gpu = await session.gpu();
      return session.hold(gpu, gpu.from(data, shape, name), name);
    },

    async kernel(_, args) {
      const { user, inputs } = userKernel(args);
      const gpu = await session.gpu();
      const names = Object.keys(inputs);
      const compiled = await compileUserKernel(gpu, user, names);
      for (const [name, { shape }] of Object.entries(user.outputs)) {
        session.meter.requireBytes(4 * shape.reduce((a, b) => a * b, 1), name);
      }
      const outputs = Object.keys(user.outputs);
      const operation = {
        name: user.name,
        inputs: Object.values(inputs),
        run(gpu: Parameters<typeof compiled.run>[0], tensors: Parameters<typeof compiled.run>[1][string][]) {
          const made = compiled.run(gpu, Object.fromEntries(names.map((name, i) => [name, tensors[i]])));
          return outputs.map((name) => made[name]);
        },
      };
      for (const input of operation.inputs) input.onDevice();
      const tensors = await contained(
        gpu,
        () => gpu.scope(() => operation.run(gpu, operation.inputs.map((input) => input.onDevice()))),
      );
      return Object.fromEntries(
        outputs.map((
          name,
          result,
        ) => [name, session.hold(gpu, tensors[result], name, { by: operation, result })]),
      );
    },

    async differentiate(_, args) {
      const loss = args.tensor(0, "the loss");
      const given = args.get(1);
      const named = given instanceof HeldTensor ? [given] : given;
      if (typeof named !== "object" || named === null) {
        throw args.wrong("what to differentiate by", "a tensor, or a list or record of tensors", given);
      }
      const of = Object.values(named).map((tensor) => args.asTensor(tensor, "what to differentiate by"));
      const gpu = await session.gpu();
      const found = await contained(gpu, () => gradients(gpu, loss, of));
      const held = found.map((tensor, i) => session.hold(gpu, tensor, `${of[i].name}.grad`));
      if (given instanceof HeldTensor) return held[0];
      return Array.isArray(named)
        ? held
        : Object.fromEntries(Object.keys(named).map((name, i) => [name, held[i]]));
    },

    async record(_, args) {
      const name = args.text(0, "the name"), value = args.get(1);
      const options = args.options(2).only("tier", "tolerance", "margins");
      const greedy = options.has("margins");
      const computed = value instanceof HeldTensor && value.dtype !== "u32";
      const numbers = computed || ArrayBuffer.isView(value) || typeof value === "number";
      if (!greedy && !numbers && options.has("tolerance")) {
        throw args.wrong(
          "what has a tolerance",
          "numbers: one, a list, a record of them, or a tensor",
          value,
        );
      }
      const tier = options.choice("tier", ["A", "B", "C"], numbers ? "B" : "A");
      const tolerance = { ...defaultTolerance, ...numbersIn(args, options.record("tolerance"), "tolerance") };
      if (greedy) {
        const margins = options.list("margins").map((one) => args.asNumber(one, "a margin"));
        const logits = options.has("tolerance") ? tolerance : logitTolerance;
        return await recordGreedy(name, args.ids(1, "the ids"), margins, logits);
      }
      const how = { stack: await stack(), tolerance, seed };
      if (!(value instanceof HeldTensor)) return await recordValue(name, tier, value, how);
      if (value.size > mostValues) {
        return await recordValue(name, tier, null, { ...how, sketch: await value.sketch(seed) });
      }
      return await recordValue(name, tier, { shape: value.shape, data: await value.values() }, how);
    },

    /** Proof of what a cell printed, where that may be figures of the device's; else its words speak for themselves. */
    async words(_, args) {
      if (!session.deviceInUse) return null;
      return await recordValue("what it puts out", "B", args.text(0, "the words"), { stack: await stack() });
    },

    memory() {
      return session.memory();
    },

    // Training, and one update of it step by step: held_training.ts.
    trainer: (_, args) => makeTrainer(stock(), args),
    microscope: (_, args) => makeMicroscope(stock(), args),
    trace: (_, args) => trace(args.get(0) as Derivation, args.options(1).values as unknown as Place),
    quantities: () => quantities.map((one) => ({ ...one })),
    gold: (_, args) => goldOf(stock(), args),
  };

  /** What floats depend on beside their inputs. */
  const stack = async () => {
    const { adapter, driver, runtime } = (await session.gpu()).facts;
    // What of Précis counts is its kernels.
    const { precis: _, ...implementation } = versions;
    return await stackDigest({
      adapter: `${adapter} ${driver}`,
      implementation: `${runtime} ${JSON.stringify(implementation)}`,
      kernels: await kernelsDigest(),
    });
  };

  const openModel = async (place: string, received?: (bytes: number) => void) => {
    requireModel(grant, place);
    await session.gpu();
    const open = await bench.open(place, received);
    const known = opened.get(place);
    if (known?.open === open) return known;
    const model = new HeldModel(session, open, true);
    opened.set(place, model);
    return model;
  };

  const keepModel = (model: HeldModel, args: Arguments) => {
    requireStorage(grant);
    const moments = args.options(1).only("moments").boolean("moments", false);
    return bench.keep(model.open, args.text(0, "the name"), { moments });
  };

  /** Every method that a cell may call, by kind of thing. */
  const tables: Record<string, Record<string, Method<never>>> = {
    lab: labMethods,
    ops: Object.fromEntries(
      Object.entries(ops).map(([name, op]) => [name, (_: null, args: Arguments) => op(session, args)]),
    ),
    Model: { ...modelMethods, xray: xrayOf, keep: keepModel },
    Tensor: tensorMethods,
    Trainer: trainerMethods,
    Microscope: microscopeMethods,
  };

  /** What training is made from. */
  const stock = (): Stock => ({ session, open: openModel, data: demoData });

  const tokenizerOf = async (place: string) => {
    requireModel(grant, place);
    if (opened.has(place)) return await opened.get(place)!.open.tokenizer();
    const { files, folder } = bench.world.locate(place);
    const config = parseJson(
      joinPath(folder, "config.json"),
      await files.read(joinPath(folder, "config.json")),
    );
    const { vocab_size: vocabulary } = config as { vocab_size: number };
    return await loadTokenizer((path) => files.read(path), folder, vocabulary);
  };
  let data: ReturnType<typeof loadDemoData> | null = null;
  const demoData = () => {
    if (!data) {
      const { files, folder } = bench.world.shipped;
      data = loadDemoData(files, joinPath(folder, "demo"));
      data.catch(() => data = null);
    }
    return data;
  };

  async function answer({ cell, to, method, args }: LabRequest, event: LabEvent): Promise<unknown> {
    if (to === 0 && method === "begin") {
      session.freeCell(cell);
      gpuTime.set(cell, 0);
      return;
    }
    const held = to === 0 ? null : session.get(to);
    if (held && method === "free") return session.free(held);
    const [kind, name] = held
      ? [held.kind, method]
      : method.startsWith("ops.")
      ? ["ops", method.slice("ops.".length)]
      : ["lab", method];
    const table = tables[kind];
    if (!Object.hasOwn(table, name)) throw new TypeError(`${kind} has no method "${name}".`);
    const given = args.map((value) =>
      readArgument(value, (reference) => {
        if ("$handle" in reference) return session.get(Number(reference.$handle));
        const callback = Number(reference.$callback);
        return (...told: unknown[]) => event(callback, told);
      })
    );
    const path = held ? `${kind}.${name}` : `lab.${method}`;
    const result = await metered(cell, () => table[name](held as never, new Arguments(path, given), session));
    return crossing(result, cell);
  }

  /** What the call costs the notebook: the time in which the device worked for it. */
  async function metered<T>(cell: string, work: () => T): Promise<Awaited<T>> {
    const start = performance.now();
    const before = session.deviceInUse?.counters.dispatches ?? 0;
    try {
      return await work();
    } finally {
      const gpu = session.deviceInUse;
      if (gpu && gpu.counters.dispatches > before) {
        await gpu.finish();
        const milliseconds = performance.now() - start;
        session.meter.gpuSeconds += milliseconds / 1000;
        gpuTime.set(cell, (gpuTime.get(cell) ?? 0) + milliseconds);
      }
    }
  }

  /** A result as it travels: things become handles of the calling cell. */
  function crossing(value: unknown, cell: string): unknown {
    if (value instanceof HeldTensor || value instanceof HeldModel || isHeld(value)) {
      const held = value as Held;
      return { $handle: session.number(held, cell), kind: held.kind, facts: held.facts() };
    }
    if (Array.isArray(value)) return value.map((item) => crossing(item, cell));
    if (value instanceof Map) {
      return Object.fromEntries(Array.from(value, ([name, item]) => [name, crossing(item, cell)]));
    }
    if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, crossing(item, cell)]));
    }
    return value;
  }

  return {
    call(request, event) {
      const result = last.then(() => answer(request, event));
      last = result.catch(() => {});
      return result;
    },
    async models() {
      const digests: Record<string, string> = {};
      for (const [place, { open }] of opened) digests[place] = await open.digest();
      return digests;
    },
    async settled() {
      await last;
    },
    gpuMilliseconds: (cell) => gpuTime.get(cell) ?? 0,
    memory: () => session.memory(),
    reset() {
      session.freeAll();
      session = new Session(bench, seed, grant);
      opened.clear();
      gpuTime.clear();
    },
  };
}

function isHeld(value: unknown): value is Held {
  return typeof value === "object" && value !== null && "kind" in value && "facts" in value &&
    typeof value.facts === "function";
}

const modelMethods: Record<string, Method<HeldModel>> = {
  digest: (model) => model.open.digest(),
  tensors: (model, args) => model.tensors(args.get(0) === undefined ? "*" : args.text(0, "the pattern")),
  tensor: (model, args) => model.tensor(args.text(0, "the name")),
  summarise: (model, args) => model.summarise(args.post(0), drawing(args, 1), args.callback(2, "onToken")),
  rate: (model, args) => model.rate(args.post(0), args.text(1, "the summary")),
  score: (model, args) => model.score(args.post(0), args.text(1, "the summary")),
  scoreIds: (model, args) => {
    const sequences = args.get(0);
    if (!Array.isArray(sequences)) throw args.wrong("the sequences", "a list of lists of ids", sequences);
    return model.scoreIds(sequences.map((ids, i) => args.asIds(ids, `sequence ${i}`)));
  },
  logprobs: (model, args) => model.logprobs(args.ids(0, "the ids")),
  generate: (model, args) =>
    model.generate(
      args.ids(0, "the prompt"),
      args.options(1).whole("count", 32, { min: 1, max: 4096 }),
      drawing(args, 1, "count"),
    ),
  async capture(model, args) {
    const given = args.get(0);
    const ids = typeof given === "string"
      ? (await model.open.tokenizer()).encode(given)
      : args.ids(0, "the ids");
    const patterns = typeof args.get(1) === "string" ? [args.get(1)] : args.get(1);
    if (!Array.isArray(patterns) || !patterns.every((one) => typeof one === "string")) {
      throw args.wrong("the patterns", 'names such as "layers.*.attn.out"', patterns);
    }
    const withGradients = args.options(2).only("gradients").boolean("gradients", false);
    return await model.capture(ids, patterns as string[], withGradients);
  },
};

const tensorMethods: Record<string, Method<HeldTensor>> = {
  values: (tensor, args) =>
    tensor.values(
      args.get(0) === undefined ? 0 : args.number(0, "from"),
      args.get(1) === undefined ? tensor.size : args.number(1, "to"),
    ),
  at: (tensor, args) => tensor.at(args.ids(0, "the indices")),
  stats: (tensor) => tensor.statistics(),
  digest: (tensor) => tensor.digest(),
  view: async (tensor) => ({
    ...await tensor.view(),
    stats: await tensor.statistics(),
    digest: await tensor.digest(),
  }),
};

function drawing(args: Arguments, index: number, ...more: string[]): DrawingRule {
  const options = args.options(index).only("temperature", "seed", "topK", "topP", ...more);
  const temperature = options.number("temperature", 0);
  if (temperature < 0) throw args.wrong("temperature", "0 or more", temperature);
  return {
    temperature,
    seed: options.whole("seed", 1),
    ...(options.has("topK") && { topK: options.whole("topK", 0) }),
    ...(options.has("topP") && { topP: options.number("topP") }),
  };
}

/** Rows `from` to `from + count` of a split. */
function part<T>(args: Arguments, split: string, splits: Record<string, readonly T[]>): T[] {
  if (!Object.hasOwn(splits, split)) {
    throw args.wrong("the split", `one of ${Object.keys(splits).join(", ")}`, split);
  }
  const options = args.options(1).only("from", "count");
  const from = options.whole("from", 0), count = options.whole("count", 10, { max: 10_000 });
  return splits[split].slice(from, from + count);
}

function content(path: string, bytes: Uint8Array, as: "json" | "text" | "bytes"): unknown {
  if (as === "bytes") return bytes;
  return as === "json" ? parseJson(path, bytes) : new TextDecoder().decode(bytes);
}

/** The numbers and the shape that `lab.tensor` was given. Nested lists bring their shape. */
function numbersOf(args: Arguments): { data: Float32Array | Uint32Array; shape: number[] } {
  const given = args.get(0);
  let data: Float32Array | Uint32Array;
  let shape: number[];
  if (given instanceof Uint32Array || given instanceof Float32Array) [data, shape] = [given, [given.length]];
  else if (ArrayBuffer.isView(given) && !(given instanceof DataView)) {
    data = Float32Array.from(given as unknown as ArrayLike<number>);
    shape = [data.length];
  } else if (Array.isArray(given) || typeof given === "number") {
    shape = [];
    for (let level: unknown = given; Array.isArray(level); level = level[0]) shape.push(level.length);
    const flat = (Array.isArray(given) ? given.flat(Infinity) : [given]) as unknown[];
    if (!flat.every((value) => typeof value === "number")) {
      throw args.wrong("the values", "numbers, in lists of equal lengths or a typed array", given);
    }
    data = Float32Array.from(flat as number[]);
    if (shape.length === 0) shape = [1];
  } else throw args.wrong("the values", "numbers, in lists of equal lengths or a typed array", given);
  if (args.get(1) !== undefined && args.get(1) !== null) shape = args.ids(1, "the shape");
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size !== data.length || size === 0) {
    throw new RangeError(`${args.method}: ${data.length} numbers cannot fill [${shape}].`);
  }
  return { data, shape };
}

function userKernel(args: Arguments): { user: UserKernel; inputs: Record<string, HeldTensor> } {
  const given = args.options(0).only(
    "name",
    "wgsl",
    "inputs",
    "outputs",
    "params",
    "overrides",
    "workgroups",
    "gradient",
  );
  const dispatch = (options: Options): Dispatch => ({
    wgsl: options.text("wgsl"),
    params: numbersIn(args, options.record("params"), "params"),
    overrides: numbersIn(args, options.record("overrides"), "overrides"),
    ...(options.has("workgroups") && { workgroups: grid(args, options.values.workgroups) }),
  });
  const inputs = Object.fromEntries(
    Object.entries(given.record("inputs")).map((
      [name, value],
    ) => [name, args.asTensor(value, `input ${name}`)]),
  );
  const outputs = Object.fromEntries(
    Object.entries(given.record("outputs")).map(([name, value]) => {
      const { shape, dtype = "f32" } = Array.isArray(value)
        ? { shape: value }
        : value as { shape: unknown; dtype?: unknown };
      if (dtype !== "f32" && dtype !== "u32") {
        throw args.wrong(`the dtype of output ${name}`, "f32 or u32", dtype);
      }
      const extents = args.asIds(shape, `the shape of output ${name}`);
      if (extents.some((extent) => extent === 0)) {
        throw args.wrong(`the shape of output ${name}`, "not empty", shape);
      }
      return [name, { shape: extents, dtype } as const];
    }),
  );
  if (Object.keys(outputs).length === 0) throw args.wrong("outputs", "shapes by name", given.values.outputs);
  return {
    inputs,
    user: {
      name: given.text("name", "kernel"),
      ...dispatch(given),
      outputs,
      ...(given.has("gradient") && {
        gradient: dispatch(
          new Options(args, given.record("gradient")).only("wgsl", "params", "overrides", "workgroups"),
        ),
      }),
    },
  };
}

function grid(args: Arguments, value: unknown): [number, number, number] {
  const groups = args.asIds(typeof value === "number" ? [value] : value, "workgroups");
  if (groups.length < 1 || groups.length > 3) throw args.wrong("workgroups", "one to three numbers", value);
  return [groups[0], groups[1] ?? 1, groups[2] ?? 1];
}

function numbersIn(args: Arguments, record: Record<string, unknown>, what: string): Record<string, number> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, args.asNumber(value, `${what}.${name}`)]),
  );
}
