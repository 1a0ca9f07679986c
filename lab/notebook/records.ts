/** What a notebook keeps of ours, all of it under the key `lab` of its metadata and its cells' metadata. */
import * as v from "valibot";
import { isObject } from "../bytes.ts";
import { isModuleAddress } from "./import_specifiers.ts";

/** SHA-256 in lower-case hexadecimal. */
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "a SHA-256 in hexadecimal"));

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());
const notNegative = v.pipe(finite, v.minValue(0));

/** A number, also one that JSON does not have. */
const anyNumber = v.union([finite, v.picklist(["NaN", "Infinity", "-Infinity"])], "a number");

const tier = v.picklist(["A", "B", "C"]);

/** See sketch.ts. */
const sketch = v.object({
  /** Elements along each dimension. */
  shape: v.array(count),
  /** NaNs and infinities; the figures below are of the others. */
  nonFinite: count,
  mean: finite,
  rms: notNegative,
  absMax: notNegative,
  /** Of the positions that were sampled. */
  seed: count,
  /** Elements at these positions, in order. */
  samples: v.array(anyNumber),
});

const tolerance = v.object({
  /** In the unit of the value. */
  absolute: notNegative,
  /** Share of the value's root mean square. */
  relative: notNegative,
});

const value = v.object({
  /** What the cell calls it, such as "logits". */
  name: v.string(),
  tier,
  /** Of the bytes, or of the canonical JSON. */
  digest: sha256,
  /** Tier B: of adapter, implementation and kernels together, see digests.ts. */
  stack: v.optional(sha256),
  /** Tier C. */
  sketch: v.optional(sketch),
  tolerance: v.optional(tolerance),
  /** Ids chosen greedily: the smallest gap between best and second-best logit. */
  margin: v.optional(notNegative),
  /** The ids themselves, and each one's gap, separated by blanks: tells where others part from them. */
  greedy: v.optional(v.object({ ids: v.string(), margins: v.string() })),
});

const inputs = v.object({
  /** Of id and source. */
  source: sha256,
  /** By id of a cell that it needs: the digest of that cell's own record. */
  needs: v.record(v.string(), sha256),
  seed: count,
  /** Of the part of the import lock that the cell's imports are in. */
  imports: sha256,
  /** Of the notebook's models and datasets. */
  data: sha256,
});

/** `metadata.lab` of a cell. */
export const cellRecordSchema = v.object({
  /** What its stored outputs came from. */
  inputs: v.optional(inputs),
  /** What it made when it ran, in order. */
  values: v.optional(v.array(value)),
});

/** What a notebook's imports may come to, at most. */
export const importLimits = {
  /** Specifiers of a notebook. */
  imports: 100,
  /** Modules that one of them stands for, with all that these import. */
  modules: 500,
  /** Of one module. */
  moduleBytes: 4 << 20,
  /** Of all the modules that a specifier stands for. */
  bytes: 16 << 20,
  /** Of all that one cell imports. */
  cellBytes: 64 << 20,
};

const moduleAddress = v.pipe(v.string(), v.check(isModuleAddress, "an https address without a password"));

/** As in HTML: "sha384-…" of the file at an address. */
const integrity = v.pipe(
  v.string(),
  v.regex(/^sha(256|384|512)-[A-Za-z0-9+/]+={0,2}$/, "an integrity such as sha384-…"),
);

/** An object that is a table. Names that JavaScript's objects have of themselves would be looked over. */
function byName<Key extends v.GenericSchema<string, string>, Value extends v.GenericSchema>(
  most: number,
  key: Key,
  value: Value,
) {
  const isTable = (table: unknown) =>
    isObject(table) && Object.keys(table).length <= most &&
    !["__proto__", "constructor", "prototype"].some((name) => Object.hasOwn(table, name));
  return v.pipe(
    v.custom<Record<string, v.InferInput<Value>>>(
      isTable,
      `an object with ${most} entries at most, none of them called as objects are`,
    ),
    v.record(key, value),
  );
}

/** What a specifier of an import stands for: a module, and all that it imports. */
const lockedImport = v.object({
  /** Where it is, exactly: with the version, and after all redirections. */
  url: moduleAddress,
  integrity,
  /** Address → integrity of every other module of the graph; left out where it imports nothing. */
  modules: v.optional(byName(importLimits.modules - 1, moduleAddress, integrity)),
  /** Address as a module writes it → where that led. */
  redirects: v.optional(byName(importLimits.modules, moduleAddress, moduleAddress)),
});

/** `metadata.lab` of a notebook. */
export const notebookRecordSchema = v.object({
  format: v.literal(1),
  /** 32 bits. */
  seed: v.optional(v.pipe(count, v.maxValue(2 ** 32 - 1))),
  /** Place ("sft", "runs/demo/models/ppo") → SHA-256 of the model. */
  models: v.optional(v.record(v.string(), sha256)),
  /** Place → SHA-256. */
  datasets: v.optional(v.record(v.string(), sha256)),
  /** Of all kernels' sources and variants that the outputs were made with. */
  kernels: v.optional(sha256),
  /** Specifier → what it stands for. */
  imports: v.optional(byName(importLimits.imports, v.string(), lockedImport)),
  /** Capabilities that it asks for: "gpu", "storage", "models", "network:<host>". */
  needs: v.optional(v.array(v.string())),
});

/** How exactly a value can be reproduced: A anywhere; B with the same adapter, implementation and kernels; C within a tolerance. */
export type Tier = v.InferOutput<typeof tier>;
export type Sketch = v.InferOutput<typeof sketch>;
export type Tolerance = v.InferOutput<typeof tolerance>;
/** What a value was, as proof for whoever runs the cell again. */
export type ValueRecord = v.InferOutput<typeof value>;
/** What a cell's outputs came from, so that it can be said what has changed since. */
export type InputRecord = v.InferOutput<typeof inputs>;
export type CellRecord = v.InferOutput<typeof cellRecordSchema>;
/** What an import of a cell stands for. */
export type LockedImport = v.InferOutput<typeof lockedImport>;
/** `metadata.lab` of a notebook, complete. */
export type NotebookRecord =
  & Required<Omit<v.InferOutput<typeof notebookRecordSchema>, "kernels">>
  & { kernels?: string };
