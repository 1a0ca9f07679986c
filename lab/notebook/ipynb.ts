/**
 * Notebooks as files: nbformat 4.5 (https://nbformat.readthedocs.io), kernelspec `deno`, with what is ours under the key `lab` of the
 * metadata (records.ts). In memory a notebook is what the file's JSON is, but for texts, which are whole instead of lists of lines.
 *
 *     parseNotebook(path: string, bytes: Uint8Array): Notebook             throws DamagedFileError
 *     serialiseNotebook(notebook: Notebook): string                        canonical
 *     newNotebook(seed: number): Notebook
 *     newCell(kind: "code" | "markdown" | "raw", source: string, index: number, others: Iterable<{id: string}>): Cell
 *     isCode(cell: Cell): cell is CodeCell;  languageOf(notebook): string
 */
import { sha256 } from "@noble/hashes/sha2.js";
import * as v from "valibot";
import { canonicalJson, DamagedFileError, isObject, parseJson, shortened, shown } from "../bytes.ts";
import { type CellRecord, cellRecordSchema, type NotebookRecord, notebookRecordSchema } from "./records.ts";

/** Representations of one thing by MIME type: JSON for types that end in json, text (base64 for images) for all others. */
export type MimeBundle = Record<string, unknown>;

export interface StreamOutput {
  output_type: "stream";
  /** "stdout" or "stderr". */
  name: string;
  text: string;
}

export interface DisplayOutput {
  output_type: "display_data";
  data: MimeBundle;
  metadata: Record<string, unknown>;
}

/** The value of the cell's last expression. */
export interface ResultOutput {
  output_type: "execute_result";
  data: MimeBundle;
  metadata: Record<string, unknown>;
  execution_count: number | null;
}

export interface ErrorOutput {
  output_type: "error";
  /** Such as "TypeError". */
  ename: string;
  /** The message. */
  evalue: string;
  traceback: string[];
}

export type Output = StreamOutput | DisplayOutput | ResultOutput | ErrorOutput;

export interface CodeCell {
  cell_type: "code";
  id: string;
  metadata: Record<string, unknown> & { lab?: CellRecord };
  source: string;
  outputs: Output[];
  /** Written as the cell's position among the code cells, from 1, wherever it is a number: see serialiseNotebook. */
  execution_count: number | null;
}

export interface TextCell {
  cell_type: "markdown" | "raw";
  id: string;
  metadata: Record<string, unknown>;
  source: string;
  /** Pictures of the text by file name. */
  attachments?: Record<string, MimeBundle>;
}

export type Cell = CodeCell | TextCell;

export interface Notebook {
  nbformat: 4;
  nbformat_minor: 5;
  metadata: Record<string, unknown> & { lab: NotebookRecord };
  cells: Cell[];
}

const kernelspec = { name: "deno", display_name: "Deno", language: "typescript" };
const language_info = { name: "typescript", file_extension: ".ts", mimetype: "text/x.typescript" };

/** An empty notebook. @param seed 32-bit unsigned integer */
export function newNotebook(seed: number): Notebook {
  const lab = { format: 1 as const, seed, models: {}, datasets: {}, imports: {}, needs: [] };
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { kernelspec: { ...kernelspec }, language_info: { ...language_info }, lab },
    cells: [],
  };
}

/**
 * A cell with an id of its own.
 * @param index where it goes, from 0
 * @param others the notebook's cells
 */
export function newCell(
  kind: Cell["cell_type"],
  source: string,
  index: number,
  others: Iterable<{ id: string }>,
): Cell {
  const id = cellId(source, index, new Set(Array.from(others, (cell) => cell.id)));
  if (kind === "code") {
    return { cell_type: kind, id, metadata: {}, source, outputs: [], execution_count: null };
  }
  return { cell_type: kind, id, metadata: {}, source };
}

/** An id from the cell's first source and its place, never a random one: the same notebook made twice is the same file. */
function cellId(source: string, index: number, taken: ReadonlySet<string>): string {
  const digest = sha256(new TextEncoder().encode(`${index}\n${source}`));
  const id = "c" + Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, "0")).join("");
  let free = id;
  for (let n = 2; taken.has(free); n++) free = `${id}-${n}`;
  return free;
}

export function isCode(cell: Cell): cell is CodeCell {
  return cell.cell_type === "code";
}

/** Which language the code cells are in, in lower case: "typescript" where the notebook does not say. */
export function languageOf({ metadata }: Notebook): string {
  const { kernelspec, language_info } = metadata;
  const said = isObject(kernelspec) && kernelspec.language || isObject(language_info) && language_info.name;
  return typeof said === "string" ? said.toLowerCase() : "typescript";
}

const lines = v.union([v.string(), v.array(v.string())], "a text or a list of lines");
const object = v.custom<Record<string, unknown>>(isObject, "an object");
const executionCount = v.nullish(v.pipe(v.number(), v.safeInteger()));
const isText = (value: unknown) =>
  typeof value === "string" || Array.isArray(value) && value.every((line) => typeof line === "string");
const bundle = v.custom<MimeBundle>(
  (value) => isObject(value) && Object.entries(value).every(([mime, one]) => isJson(mime) || isText(one)),
  "an object of texts by MIME type",
);

const stored = v.variant("output_type", [
  v.strictObject({ output_type: v.literal("stream"), name: v.string(), text: lines }),
  v.strictObject({ output_type: v.literal("display_data"), data: bundle, metadata: v.optional(object) }),
  v.strictObject({
    output_type: v.literal("execute_result"),
    data: bundle,
    metadata: v.optional(object),
    execution_count: executionCount,
  }),
  v.strictObject({
    output_type: v.literal("error"),
    ename: v.string(),
    evalue: v.string(),
    traceback: v.array(v.string()),
  }),
]);

// Of the metadata the format knows these; all else is anybody's.
const text = v.optional(v.string());
const notebookMetadata = v.optional(v.looseObject({
  kernelspec: v.optional(v.looseObject({ name: v.string(), display_name: v.string() })),
  language_info: v.optional(v.looseObject({
    name: v.string(),
    codemirror_mode: v.optional(v.union([v.string(), object], "a text or an object")),
    file_extension: text,
    mimetype: text,
    pygments_lexer: text,
  })),
  title: text,
  authors: v.optional(v.array(v.unknown())),
}));
const cellMetadata = v.optional(v.looseObject({
  name: v.optional(v.pipe(v.string(), v.nonEmpty())),
  tags: v.optional(v.pipe(
    v.array(v.pipe(v.string(), v.regex(/^[^,]+$/, "a tag without commas"))),
    v.check((tags) => new Set(tags).size === tags.length, "a list of different tags"),
  )),
  jupyter: v.optional(object),
  collapsed: v.optional(v.boolean()),
  scrolled: v.optional(v.union([v.boolean(), v.literal("auto")])),
  format: text,
}));

// What the format demands and other tools leave out all the same is optional here: metadata, outputs, execution_count, and ids.
const common = { id: v.optional(v.string()), metadata: cellMetadata, source: lines };
const attachments = v.optional(v.record(v.string(), bundle));
const cell = v.variant("cell_type", [
  v.strictObject({
    cell_type: v.literal("code"),
    ...common,
    outputs: v.optional(v.array(stored)),
    execution_count: executionCount,
  }),
  v.strictObject({ cell_type: v.literal("markdown"), ...common, attachments }),
  v.strictObject({ cell_type: v.literal("raw"), ...common, attachments }),
]);

const file = v.strictObject({
  nbformat: v.literal(4),
  nbformat_minor: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  metadata: notebookMetadata,
  cells: v.array(cell),
});

/** Deepest nesting that is read: deeper JSON would end the programs that walk it. */
const deepest = 200;

/**
 * Reads a notebook. Foreign ones are taken as they are, with all their metadata; those of 4.0 to 4.4 become 4.5, with ids that depend on
 * nothing but their cells. An id that is missing, malformed or taken is replaced in the same way.
 * @param path for messages
 * @throws DamagedFileError where it is no notebook, or not one that can be written again without a loss
 */
export function parseNotebook(path: string, bytes: Uint8Array): Notebook {
  const json = parseJson(path, bytes);
  const refuse = (what: string, remedy: string): never => {
    throw new DamagedFileError(`${path} ${what}; ${remedy}.`);
  };
  refuseUnwritable(json, refuse);
  if (!isObject(json)) {
    return refuse(`is not a notebook: it holds ${shown(json)}`, "restore or download the file again");
  }
  const { nbformat, nbformat_minor: minor, metadata } = json;
  if (typeof nbformat === "number" && (nbformat !== 4 || typeof minor === "number" && minor > 5)) {
    refuse(
      `is in notebook format ${nbformat}.${shown(minor ?? 0)}, and 4.0 to 4.5 are read`,
      "open it in JupyterLab and save it as 4.5",
    );
  }
  if (
    isObject(metadata) && isObject(metadata.lab) && typeof metadata.lab.format === "number" &&
    metadata.lab.format > 1
  ) {
    refuse(
      `was written by a later version of this lab (format ${metadata.lab.format})`,
      "update the lab to open it",
    );
  }
  const damaged = (issue: v.BaseIssue<unknown>, before = ""): never => {
    const found = issue.expected === "never"
      ? "unknown here"
      : issue.received === "undefined"
      ? "missing"
      : `${shown(issue.input)} instead of ${
        issue.message.startsWith("Invalid ") ? issue.expected : issue.message
      }`;
    return refuse(
      `is not a notebook: ${before}${placeOf(issue)} is ${found}`,
      "mend that place or restore the file",
    );
  };
  const check = <S extends v.GenericSchema>(schema: S, value: unknown, before?: string): v.InferOutput<S> => {
    const result = v.safeParse(schema, value, { abortEarly: true });
    return result.success ? result.output : damaged(result.issues[0], before);
  };

  const { cells } = check(file, json);
  const read: Cell[] = [];
  const taken = new Set<string>();
  // Ids that are there come first: one that is made up must not take one of theirs.
  const kept = cells.map(({ id }) => {
    if (id === undefined || !/^[a-zA-Z0-9_-]{1,64}$/.test(id) || taken.has(id)) return undefined;
    taken.add(id);
    return id;
  });
  cells.forEach((one, index) => {
    const source = joined(one.source);
    const id = kept[index] ?? cellId(source, index, taken);
    taken.add(id);
    // The checker leaves keys such as "constructor" out of its copies.
    const metadata = { ...(json.cells as typeof cells)[index].metadata };
    if (one.cell_type === "code") {
      if (metadata.lab !== undefined) {
        check(cellRecordSchema, metadata.lab, `metadata.lab of cell ${index + 1}: `);
      }
      const outputs = (one.outputs ?? []).map(readOutput);
      read.push({
        cell_type: "code",
        id,
        metadata,
        source,
        outputs,
        execution_count: one.execution_count ?? null,
      });
    } else {
      const attachments = one.attachments && Object.fromEntries(
        Object.entries(one.attachments).map(([name, bundle]) => [name, readBundle(bundle)]),
      );
      read.push({ cell_type: one.cell_type, id, metadata, source, ...(attachments && { attachments }) });
    }
  });

  const { lab, orig_nbformat: _, ...foreign } = (metadata ?? {}) as Record<string, unknown>;
  if (lab !== undefined) check(notebookRecordSchema, lab, "metadata.lab: ");
  const own = newNotebook(0).metadata;
  const language = foreign.kernelspec === undefined && foreign.language_info === undefined ? own : {};
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: { ...language, ...foreign, lab: { ...own.lab, ...(lab as Partial<NotebookRecord>) } },
    cells: read,
  };
}

/** "cell 3, output 1, text". */
function placeOf(issue: v.BaseIssue<unknown>): string {
  const parts: string[] = [];
  for (const { key } of issue.path ?? []) {
    const holder = parts.at(-1);
    if (typeof key === "number" && holder && /^(cells|outputs)$/.test(holder)) {
      parts[parts.length - 1] = `${holder.slice(0, -1)} ${key + 1}`;
    } else parts.push(typeof key === "number" ? `item ${key + 1}` : shortened(String(key)));
  }
  return parts.join(", ") || "the whole";
}

/** What JSON.parse takes and nothing writes again: infinities, and nesting without end. */
function refuseUnwritable(json: unknown, refuse: (what: string, remedy: string) => never): void {
  const walk = (value: unknown, depth: number, at: string): void => {
    if (typeof value === "number" && !Number.isFinite(value)) {
      refuse(`has a number at "${shortened(at)}" that is too large`, "take it out or restore the file");
    }
    if (typeof value !== "object" || value === null) return;
    if (depth === deepest) {
      refuse(
        `is nested deeper than ${deepest} levels at "${shortened(at)}"`,
        "restore or download the file again",
      );
    }
    for (const [key, child] of Object.entries(value)) walk(child, depth + 1, depth === 0 ? key : at);
  };
  walk(json, 0, "");
}

function joined(text: string | readonly string[]): string {
  return typeof text === "string" ? text : text.join("");
}

function isJson(mime: string): boolean {
  return /^application\/(.*\+)?json$/.test(mime);
}

function readBundle(bundle: MimeBundle): MimeBundle {
  return Object.fromEntries(
    Object.entries(bundle).map((
      [mime, value],
    ) => [mime, isJson(mime) ? value : joined(value as string | string[])]),
  );
}

/** Outputs that came from elsewhere than a file; undefined where one is none. */
export function soundOutputs(value: unknown): Output[] | undefined {
  const { success, output } = v.safeParse(v.array(stored), value, { abortEarly: true });
  return success ? (output as v.InferOutput<typeof stored>[]).map(readOutput) : undefined;
}

function readOutput(output: v.InferOutput<typeof stored>): Output {
  switch (output.output_type) {
    case "stream":
      return { ...output, text: joined(output.text) };
    case "error":
      return output;
    case "display_data":
      return { ...output, data: readBundle(output.data), metadata: output.metadata ?? {} };
    case "execute_result":
      return {
        ...output,
        data: readBundle(output.data),
        metadata: output.metadata ?? {},
        execution_count: output.execution_count ?? null,
      };
  }
}

/**
 * Writes a notebook so that equal notebooks are equal files and a change shows as a change of its lines: sorted keys, indented by one
 * space, texts as lists of lines, nothing of when it ran. Where a code cell has an execution count, it is the cell's position among the
 * code cells: runs in another order would make a difference out of none.
 * @throws TypeError where the metadata or an output holds what JSON does not have
 */
export function serialiseNotebook({ nbformat, nbformat_minor, metadata, cells }: Notebook): string {
  let position = 0;
  const written = cells.map((cell) => {
    const source = linesOf(cell.source);
    if (!isCode(cell)) {
      const { attachments } = cell;
      return {
        ...cell,
        source,
        attachments: attachments &&
          Object.fromEntries(
            Object.entries(attachments).map(([name, bundle]) => [name, writtenBundle(bundle)]),
          ),
      };
    }
    position++;
    // JupyterLab may put the times of the run there.
    const { execution: _, ...metadata } = cell.metadata;
    const execution_count = cell.execution_count === null ? null : position;
    const outputs = cell.outputs.map((output) => {
      if (output.output_type === "stream") return { ...output, text: linesOf(output.text) };
      if (output.output_type === "error") return output;
      const data = writtenBundle(output.data);
      return output.output_type === "display_data"
        ? { ...output, data }
        : { ...output, data, execution_count };
    });
    return { ...cell, metadata, source, outputs, execution_count };
  });
  return canonical({ nbformat, nbformat_minor, metadata, cells: written }, "") + "\n";
}

/** Each with its line break. */
function linesOf(text: string): string[] {
  return text.split(/(?<=\n)/).filter((line) => line !== "");
}

function writtenBundle(bundle: MimeBundle): Record<string, unknown> {
  const inLines = /^(text\/.*|application\/javascript|image\/svg\+xml)$/;
  return Object.fromEntries(
    Object.entries(bundle).map(([mime, value]) => [
      mime,
      inLines.test(mime) && typeof value === "string" ? linesOf(value) : value,
    ]),
  );
}

/** JSON over several lines with sorted keys. */
function canonical(value: unknown, indent: string): string {
  if (typeof value !== "object" || value === null) return canonicalJson(value);
  const deeper = indent + " ";
  const isList = Array.isArray(value);
  const items = isList ? value.map((item) => canonical(item, deeper)) : Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, field]) => `${JSON.stringify(key)}: ${canonical(field, deeper)}`);
  const [open, close] = isList ? "[]" : "{}";
  return items.length === 0
    ? open + close
    : `${open}\n${deeper}${items.join(`,\n${deeper}`)}\n${indent}${close}`;
}
