/**
 * A notebook as the fragment of a URL, which no server sees, and its content address.
 *
 *     toFragment(notebook: Notebook): Promise<string>                 "#n=…"
 *     fromFragment(fragment: string): Promise<Notebook>               throws DamagedFileError
 *     withoutOutputs(notebook: Notebook): Notebook
 *     contentAddress(notebook: Notebook): Promise<string>             "sha256-…"
 *
 * After `#n=` stand, in base64url: the length of the canonical file in bytes (4 bytes, little-endian), the first 8 bytes of its SHA-256,
 * and the file itself under raw DEFLATE (RFC 1951). Length and digest tell a link that was cut or changed on its way.
 */
import { DamagedFileError, sha256Of } from "../bytes.ts";
import { isCode, type Notebook, parseNotebook, serialiseNotebook } from "./ipynb.ts";

const head = "#n=";
const headBytes = 12;

/** Largest notebook in a link, inflated, in bytes: a link of a few kilobytes could otherwise fill the memory. */
const mostBytes = 16 * 1024 * 1024;

/** Where most programs still take a link whole, in characters; browsers take two million. */
export const safeLinkLength = 32_000;

/** @throws RangeError where the notebook is too large for any link */
export async function toFragment(notebook: Notebook): Promise<string> {
  const bytes = new TextEncoder().encode(serialiseNotebook(notebook));
  if (bytes.length > mostBytes) {
    throw new RangeError(
      `The notebook has ${bytes.length} bytes and a link holds ${mostBytes}; share it as a file.`,
    );
  }
  const deflated = await new Response(
    new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw")),
  ).bytes();
  const all = new Uint8Array(headBytes + deflated.length);
  new DataView(all.buffer).setUint32(0, bytes.length, true);
  all.set(await digestHead(bytes), 4);
  all.set(deflated, headBytes);
  return head + all.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Reads a shared notebook.
 * @param fragment with or without its "#"
 * @throws DamagedFileError where it was cut, changed or made to be too large
 */
export async function fromFragment(fragment: string): Promise<Notebook> {
  const refuse = (what: string): never => {
    throw new DamagedFileError(`The link ${what}; ask for it again, or for the notebook as a file.`);
  };
  const text = fragment.replace(/^#/, "");
  if (!text.startsWith(head.slice(1))) {
    refuse('does not hold a notebook: its part after "#" begins with something else than "n="');
  }
  let all: Uint8Array;
  try {
    all = Uint8Array.fromBase64(text.slice(head.length - 1), { alphabet: "base64url" });
  } catch {
    return refuse("was cut off or holds characters that no link of a notebook has");
  }
  if (all.length < headBytes) refuse("was cut off");
  const length = new DataView(all.buffer, all.byteOffset).getUint32(0, true);
  if (length > mostBytes) refuse(`would unpack to ${length} bytes, and ${mostBytes} are taken`);
  const bytes = await inflated(all.subarray(headBytes), length);
  if (typeof bytes === "string") return refuse(bytes);
  const digest = await digestHead(bytes);
  if (digest.some((byte, i) => byte !== all[4 + i])) refuse("was changed on its way");
  return parseNotebook("The notebook in the link", bytes);
}

/** The bytes, exactly so many; otherwise what is wrong with them. */
async function inflated(deflated: Uint8Array, length: number): Promise<Uint8Array<ArrayBuffer> | string> {
  const bytes = new Uint8Array(length);
  let done = 0;
  const reader = new Blob([deflated as Uint8Array<ArrayBuffer>]).stream()
    .pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  try {
    for (;;) {
      const { value, done: ended } = await reader.read();
      if (ended) break;
      if (done + value.length > length) {
        await reader.cancel();
        return "unpacks to more than it says";
      }
      bytes.set(value, done);
      done += value.length;
    }
  } catch {
    return "was cut off or damaged on its way";
  }
  return done === length ? bytes : "was cut off";
}

async function digestHead(bytes: Uint8Array): Promise<Uint8Array> {
  return Uint8Array.fromHex((await sha256Of(bytes)).slice(0, 16));
}

/** The notebook as it is before it runs, for a shorter link. */
export function withoutOutputs(notebook: Notebook): Notebook {
  const cells = notebook.cells.map((cell) => {
    if (!isCode(cell)) return cell;
    const { lab: _, ...metadata } = cell.metadata;
    return { ...cell, metadata, outputs: [], execution_count: null };
  });
  return { ...notebook, cells };
}

/** What a citation names the notebook by: SHA-256 of its canonical file. */
export async function contentAddress(notebook: Notebook): Promise<string> {
  return `sha256-${await sha256Of(new TextEncoder().encode(serialiseNotebook(notebook)))}`;
}
