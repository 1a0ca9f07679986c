/**
 * An ONNX graph under construction: nodes in the order in which they are called for, each named after the part of the model that it
 * belongs to. Field numbers are those of onnx.proto (github.com/onnx/onnx, IR version 8).
 */
import { bytes, embedded, type Encoded, float, integer, message, type Streamed, text } from "./protobuf.ts";

/** Element types by their number in `TensorProto.DataType`. */
export const elementTypes = { f32: 1, i32: 6, i64: 7, bool: 9, f16: 10 } as const;
export type ElementType = keyof typeof elementTypes;

/** The name of a tensor of the graph. */
export type Value = string;

/** An extent: a number, or the name of one that is known only when the graph runs. */
export type Extent = number | string;

/** A number is an integer attribute unless it is given as `{ float }`. */
type Attribute = number | readonly number[] | { float: number };

/** A weight; its bytes are little-endian, row-major. */
export interface Weight extends Streamed {
  name: string;
  type: "f32" | "f16";
  shape: readonly number[];
}

/** Where a weight's bytes lie outside the model file. */
export interface Place {
  file: string;
  offset: number;
}

/** What a graph is made of, ready to be written. */
export class OnnxGraph {
  readonly weights: Weight[] = [];
  private readonly nodes: Encoded[] = [];
  private readonly constants = new Map<Value, Encoded>();
  private readonly inputs: Encoded[] = [];
  private readonly outputs: Encoded[] = [];
  private readonly scopes: string[] = [];
  private readonly counts = new Map<string, number>();

  /** What `build` adds is named after `scope`. */
  inside<T>(scope: string, build: () => T): T {
    this.scopes.push(scope);
    try {
      return build();
    } finally {
      this.scopes.pop();
    }
  }

  /** Adds an input of the graph. */
  input(name: Value, type: ElementType, shape: readonly Extent[]): Value {
    this.inputs.push(valueInfo(name, type, shape));
    return name;
  }

  /** Makes a tensor an output of the graph, under its own name. */
  output(value: Value, name: Value, type: ElementType, shape: readonly Extent[]): void {
    this.nodes.push(node("Identity", [value], [name], `/output/${name}`));
    this.outputs.push(valueInfo(name, type, shape));
  }

  /** A weight of the model. */
  weight(weight: Weight): Value {
    this.weights.push(weight);
    return weight.name;
  }

  /** Integers, as a list or (given a number) as a scalar. */
  integers(values: readonly number[] | number): Value {
    const list = typeof values === "number" ? [values] : values;
    const shape = typeof values === "number" ? [] : [list.length];
    const data = new Uint8Array(BigInt64Array.from(list, BigInt).buffer);
    return this.constant(`i64[${shape}] ${list}`, "i64", shape, data);
  }

  /** Floats, of the given shape. */
  floats(values: readonly number[], shape: readonly number[]): Value {
    const data = Float32Array.from(values);
    return this.constant(`f32[${shape}] ${Array.from(data)}`, "f32", shape, new Uint8Array(data.buffer));
  }

  /** The same constant is kept once. */
  private constant(key: string, type: ElementType, shape: readonly number[], data: Uint8Array): Value {
    const name = key.length > 60 ? `${key.slice(0, 40)}… ${this.constants.size}` : key;
    if (!this.constants.has(name)) this.constants.set(name, tensor(name, type, shape, bytes(9, data)));
    return name;
  }

  /** Adds a node with one output. @returns that output */
  node(op: string, inputs: readonly Value[], attributes: Record<string, Attribute> = {}): Value {
    const place = `/${[...this.scopes, op].join("/")}`;
    const count = this.counts.get(place) ?? 0;
    this.counts.set(place, count + 1);
    const name = count === 0 ? place : `${place}_${count}`;
    const output = `${name}.out`;
    this.nodes.push(node(op, inputs, [output], name, attributes));
    return output;
  }

  /**
   * The whole file, weights in it or, where `places` has them, named as lying elsewhere.
   * @param facts go into the file's metadata
   */
  model(
    name: string,
    opset: number,
    facts: Record<string, string>,
    places: ReadonlyMap<Value, Place> = new Map(),
  ): Encoded {
    const graph = message(
      ...this.nodes.map((encoded) => embedded(1, encoded)),
      text(2, name),
      ...[...this.constants.values()].map((encoded) => embedded(5, encoded)),
      ...this.weights.map((weight) => embedded(5, weightTensor(weight, places.get(weight.name)))),
      ...this.inputs.map((encoded) => embedded(11, encoded)),
      ...this.outputs.map((encoded) => embedded(12, encoded)),
    );
    return message(
      integer(1, 8),
      text(2, "Précis"),
      embedded(7, graph),
      embedded(8, message(text(1, ""), integer(2, opset))),
      ...Object.entries(facts).map(([key, value]) => embedded(14, pair(key, value))),
    );
  }
}

function weightTensor({ name, type, shape, ...data }: Weight, place?: Place): Encoded {
  if (!place) return tensor(name, type, shape, bytes(9, data));
  const where = { location: place.file, offset: place.offset, length: data.bytes };
  return tensor(
    name,
    type,
    shape,
    message(
      ...Object.entries(where).map(([key, value]) => embedded(13, pair(key, `${value}`))),
      integer(14, 1),
    ),
  );
}

/** A TensorProto. */
function tensor(name: Value, type: ElementType, shape: readonly number[], data: Encoded): Encoded {
  const dims = shape.map((extent) => integer(1, extent));
  return message(...dims, integer(2, elementTypes[type]), text(8, name), data);
}

/** A NodeProto. */
function node(
  op: string,
  inputs: readonly Value[],
  outputs: readonly Value[],
  name: string,
  attributes: Record<string, Attribute> = {},
): Encoded {
  return message(
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(3, name),
    text(4, op),
    ...Object.entries(attributes).map(([key, value]) => embedded(5, attribute(key, value))),
  );
}

/** An AttributeProto; 1, 2 and 7 are its types for a float, an integer and a list of integers. */
function attribute(name: string, value: Attribute): Encoded {
  if (typeof value === "number") return message(text(1, name), integer(3, value), integer(20, 2));
  if ("float" in value) return message(text(1, name), float(2, value.float), integer(20, 1));
  return message(text(1, name), ...value.map((item) => integer(8, item)), integer(20, 7));
}

/** A ValueInfoProto. */
function valueInfo(name: Value, type: ElementType, shape: readonly Extent[]): Encoded {
  const dims = shape.map((extent) =>
    embedded(1, typeof extent === "number" ? integer(1, extent) : text(2, extent))
  );
  const tensorType = message(integer(1, elementTypes[type]), embedded(2, message(...dims)));
  return message(text(1, name), embedded(2, embedded(1, tensorType)));
}

/** A StringStringEntryProto. */
const pair = (key: string, value: string) => message(text(1, key), text(2, value));
