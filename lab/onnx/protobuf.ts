/**
 * Protocol buffers, as far as an ONNX file needs them: written front to back without ever being whole in memory. The library that is
 * there (protobufjs, of onnxruntime-web) builds a message in one buffer, which a model of 2 GB must not be.
 */
import { joinedBytes } from "../joined_bytes.ts";

/** Bytes that are made only when their turn comes. */
export interface Streamed {
  bytes: number;
  stream(): AsyncIterable<Uint8Array>;
}

/** A sequence of encoded fields; a message is one such sequence. */
export interface Encoded {
  bytes: number;
  pieces: (Uint8Array | Streamed)[];
}

/** Fields one after the other. */
export function message(...fields: Encoded[]): Encoded {
  return {
    bytes: fields.reduce((sum, { bytes }) => sum + bytes, 0),
    pieces: fields.flatMap(({ pieces }) => pieces),
  };
}

/** A varint field: int32, int64, enum. Negative numbers take ten bytes, as the format has it. */
export function integer(field: number, value: number | bigint): Encoded {
  return raw([...tag(field, 0), ...varint(BigInt.asUintN(64, BigInt(value)))]);
}

/** A `float` field. */
export function float(field: number, value: number): Encoded {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return raw([...tag(field, 5), ...bytes]);
}

/** A `string` field. */
export function text(field: number, value: string): Encoded {
  return embedded(field, bytesOf(new TextEncoder().encode(value)));
}

/** A `bytes` field. */
export function bytes(field: number, value: Uint8Array | Streamed): Encoded {
  return embedded(
    field,
    value instanceof Uint8Array ? bytesOf(value) : { bytes: value.bytes, pieces: [value] },
  );
}

/** A field that is itself a message. */
export function embedded(field: number, content: Encoded): Encoded {
  return message(raw([...tag(field, 2), ...varint(BigInt(content.bytes))]), content);
}

/**
 * The bytes of a message, small pieces joined.
 * @throws RangeError where a streamed part gives another number of bytes than it said
 */
export async function* encode({ pieces }: Encoded): AsyncGenerator<Uint8Array> {
  let small: Uint8Array[] = [];
  const joined = () => {
    const whole = joinedBytes(small);
    small = [];
    return whole;
  };
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) {
      small.push(piece);
      continue;
    }
    if (small.length > 0) yield joined();
    yield* exactly(piece);
  }
  if (small.length > 0) yield joined();
}

/** A streamed part, its length checked. */
export async function* exactly({ bytes, stream }: Streamed): AsyncGenerator<Uint8Array> {
  let seen = 0;
  for await (const part of stream()) {
    seen += part.length;
    yield part;
  }
  if (seen !== bytes) throw new RangeError(`${bytes} bytes were announced and ${seen} came.`);
}

const raw = (values: number[]) => bytesOf(Uint8Array.from(values));

const bytesOf = (value: Uint8Array): Encoded => ({ bytes: value.length, pieces: [value] });

const tag = (field: number, wireType: number) => varint(BigInt(field << 3 | wireType));

function varint(value: bigint): number[] {
  const groups: number[] = [];
  for (; value > 0x7fn; value >>= 7n) groups.push(Number(value & 0x7fn) | 0x80);
  return [...groups, Number(value)];
}
