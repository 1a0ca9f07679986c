/** Where notebooks come from: those that ship, those that this browser keeps, files, and links that carry them. */
import { digestOfJson, isObject } from "../../bytes.ts";
import type { Grant } from "../../notebook/grant.ts";
import {
  type Cell,
  isCode,
  newCell,
  newNotebook,
  type Notebook,
  parseNotebook,
} from "../../notebook/ipynb.ts";
import { type Kept, readGrant, readKept, type Snapshot } from "./storage.ts";

/** A notebook, and how this browser came by it. */
export interface Found {
  notebook: Notebook;
  /** What it is kept under, once it is changed. */
  id: string;
  /** What is kept of it already. */
  kept?: Kept;
  /** The name of the shipped notebook that it is or was begun from. */
  shipped?: string;
  /** Whether somebody else wrote it and nobody here has allowed it to run. */
  stranger: boolean;
  /** What was allowed it; its owner's rights where it is one's own. */
  grant?: Grant;
}

export interface Shipped {
  /** File below notebooks/, without its ending. */
  name: string;
  title: string;
  about: string;
}

/** The notebook that the page opens on. */
export const firstShipped = "welcome";

async function ask(path: string): Promise<Response> {
  const url = new URL(path, document.baseURI);
  const answer = await fetch(url).catch(() => {
    throw new Error(`${url.pathname} cannot be fetched: the page’s server does not answer.`);
  });
  if (!answer.ok) {
    throw new Error(`${url.pathname} cannot be fetched: the server answers with status ${answer.status}.`);
  }
  return answer;
}

export async function shippedNotebooks(): Promise<Shipped[]> {
  return await (await ask("notebooks/index.json")).json();
}

/** A shipped notebook as this browser has it: changed, if it was changed here. */
export async function openShipped(name: string): Promise<Found> {
  const id = `shipped-${name}`;
  const mine = await openKept(id).catch(() => undefined); // some private windows keep nothing
  return mine ?? await freshShipped(name);
}

/** A shipped notebook as it ships. */
export async function freshShipped(name: string): Promise<Found> {
  const path = `notebooks/${name}.ipynb`;
  const bytes = new Uint8Array(await (await ask(path)).arrayBuffer());
  return { notebook: parseNotebook(path, bytes), id: `shipped-${name}`, shipped: name, stranger: false };
}

/** One of the notebooks that this browser keeps. */
export async function openKept(id: string): Promise<Found | undefined> {
  const found = await readKept(id);
  if (!found) return undefined;
  const { kept, snapshot } = found;
  const notebook = { nbformat: 4, nbformat_minor: 5, ...snapshot as Snapshot<Cell> } as Notebook;
  return {
    notebook,
    id,
    kept,
    shipped: kept.shipped,
    stranger: kept.stranger === true,
    ...await grantOf(notebook, kept.stranger),
  };
}

/** A file that somebody gave, or a link: a stranger's, until it is allowed to run. */
export async function openForeign(name: string, bytes: Uint8Array): Promise<Found> {
  const notebook = parseNotebook(name, bytes);
  const id = `foreign-${(await digestOfJson(notebook)).slice(0, 20)}`;
  // The same file again is the same notebook, with what was changed in it here.
  const mine = await openKept(id).catch(() => undefined);
  return mine ?? { notebook, id, stranger: true, ...await grantOf(notebook, true) };
}

export function openNew(): Found {
  const notebook = newNotebook(crypto.getRandomValues(new Uint32Array(1))[0]);
  notebook.cells.push(newCell("markdown", "# Untitled notebook", 0, []));
  notebook.cells.push(newCell("code", 'import { lab } from "precis";\n', 1, notebook.cells));
  return { notebook, id: `own-${crypto.randomUUID()}`, stranger: false };
}

async function grantOf(notebook: Notebook, stranger?: boolean): Promise<{ grant?: Grant }> {
  if (!stranger) return {};
  const grant = await readGrant(await programDigest(notebook)).catch(() => undefined);
  return isObject(grant) ? { grant: grant as unknown as Grant } : {};
}

/** Of all that decides what a notebook does: what was allowed one is allowed every other with the same. */
export function programDigest({ cells, metadata }: Notebook): Promise<string> {
  const { needs, imports, seed } = metadata.lab;
  const code = cells.filter(isCode).map(({ source }) => source);
  return digestOfJson({ code, needs, imports, seed });
}
