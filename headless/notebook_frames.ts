/**
 * Messages between a notebook's process and its host, over pipes. A frame is its way (one byte: which of the kernel's two ports), the
 * message's length (four bytes, little-endian) and the message as V8 writes structured clones, so that typed arrays cross as bytes.
 */
import { deserialize, serialize } from "node:v8";
import { joinedBytes } from "../lab/joined_bytes.ts";

/** Bytes of one message, at most: a call's arguments may have a quarter of that. */
const longest = 256 << 20;

const headBytes = 5;

/** Why a notebook's process ends by itself. */
export const exits = { failed: 70, hostile: 76, memory: 77 } as const;

/** What came is no frame, or too long a one. */
export class FrameError extends Error {
  override name = "FrameError";
}

/** @throws FrameError where the message is too long, DataCloneError where it holds what only lives within a process */
export function frame(way: number, message: unknown): Uint8Array<ArrayBuffer> {
  const body = serialize(message);
  if (body.length > longest) {
    throw new FrameError(`it sent ${body.length >> 20} MiB at once; ${longest >> 20} are allowed`);
  }
  const framed = new Uint8Array(headBytes + body.length);
  framed[0] = way;
  new DataView(framed.buffer).setUint32(1, body.length, true);
  framed.set(body, headBytes);
  return framed;
}

/**
 * Reads frames to the end of a stream. What follows the last whole frame is left out: whoever wrote it has ended.
 * @throws FrameError
 */
export async function* readFrames(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<{ way: number; message: unknown }> {
  const bytes = bytesOf(stream);
  for (;;) {
    const head = await bytes(headBytes);
    if (!head) return;
    const length = new DataView(head.buffer).getUint32(1, true);
    if (head[0] > 1 || length > longest) {
      throw new FrameError("it wrote to its host's pipe what is no message");
    }
    const body = await bytes(length);
    if (!body) return;
    let message: unknown;
    try {
      message = deserialize(body);
    } catch {
      throw new FrameError("it wrote to its host's pipe what is no message");
    }
    yield { way: head[0], message };
  }
}

/** Takes so many bytes of a stream at a time; undefined where it ends before. */
function bytesOf(stream: ReadableStream<Uint8Array>) {
  const reader = stream.getReader();
  let chunk: Uint8Array = new Uint8Array(0);
  return async (count: number): Promise<Uint8Array<ArrayBuffer> | undefined> => {
    const pieces: Uint8Array[] = [];
    let missing = count;
    while (missing > 0) {
      if (chunk.length === 0) {
        const { done, value } = await reader.read();
        if (done) return undefined;
        chunk = value;
      }
      const piece = chunk.subarray(0, missing);
      chunk = chunk.subarray(piece.length);
      missing -= piece.length;
      pieces.push(piece);
    }
    return joinedBytes(pieces);
  };
}
