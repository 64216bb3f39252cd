import { type Attribute, type GraphRecord, type Initializer, type Node, type Port, typeNumbers } from './graph.ts';
import { byteLength, type Encoded, float, integer, integers, joined, message, text } from './protobuf.ts';

/**
 * ONNX's operator set. 17 is the first with LayerNormalization, and what segment-anything's own export takes; runtimes of 2022 (onnxruntime
 * 1.12) read it. GELU is an operator of its own only from 20 on, but onnxruntime fuses its five nodes into one.
 */
const opset = 17;
const irVersion = 8;

/** Weights below this stay in the model file when the others do not. */
const smallest = 1024;
/** Where external data may start, so that it can be mapped into memory. */
const alignment = 4096;

/** A file of a model: its bytes in order, weights among them that are yet to be read. */
export interface ModelFile {
  readonly name: string;
  readonly parts: Encoded;
}

/**
 * Encodes a graph as ONNX's ModelProto (onnx.proto3). When it would be larger than `limit`, its weights go to a second file, NAME_data.
 *
 * @param name of the file
 */
export function encodeModel(
  name: string,
  record: GraphRecord,
  { metadata, limit }: { metadata: Readonly<Record<string, string>>; limit: number },
): ModelFile[] {
  const whole = modelProto(record, metadata, (initializer) => [message(9, [lazily(initializer)])]);
  if (byteLength(whole) <= limit) return [{ name, parts: whole }];
  const data: Encoded[number][] = [];
  const location = `${name}_data`;
  const model = modelProto(record, metadata, (initializer) => {
    if (initializer.byteLength < smallest) return [message(9, [lazily(initializer)])];
    const end = byteLength(data);
    const offset = Math.ceil(end / alignment) * alignment;
    data.push(new Uint8Array(offset - end), lazily(initializer));
    const entries = { location, offset: `${offset}`, length: `${initializer.byteLength}` };
    return [...Object.entries(entries).map(([key, value]) => pair(13, key, value)), integer(14, 1)];
  });
  return [
    { name: location, parts: data },
    { name, parts: model },
  ];
}

/** The bytes of a file, in pieces: each weight alone, what lies between two of them together. */
export async function* readParts(parts: Encoded): AsyncGenerator<Uint8Array> {
  let small: Uint8Array[] = [];
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      small.push(part);
      continue;
    }
    yield joined(small);
    small = [];
    yield await part.read();
  }
  yield joined(small);
}

const lazily = (initializer: Initializer) => ({ length: initializer.byteLength, read: initializer.read });

function modelProto(
  record: GraphRecord,
  metadata: Readonly<Record<string, string>>,
  content: (initializer: Initializer) => Encoded[],
): Encoded {
  const { name, nodes, initializers, inputs, outputs } = record;
  const tensor = (initializer: Initializer) =>
    message(
      5,
      integers(1, initializer.shape),
      integer(2, typeNumbers[initializer.type]),
      text(8, initializer.name),
      ...content(initializer),
    );
  return [
    integer(1, irVersion),
    text(2, '@slimsam/vit'),
    message(
      7,
      ...nodes.map(nodeProto),
      text(2, name),
      ...[...initializers.values()].map(tensor),
      ...inputs.map((port) => portProto(11, port)),
      ...outputs.map((port) => portProto(12, port)),
    ),
    message(8, text(1, ''), integer(2, opset)),
    ...Object.entries(metadata).map(([key, value]) => pair(14, key, value)),
  ].flat();
}

const pair = (field: number, key: string, value: string) => message(field, text(1, key), text(2, value));

function nodeProto({ op, name, inputs, outputs, attributes }: Node): Encoded {
  return message(
    1,
    ...inputs.map((value) => text(1, value)),
    ...outputs.map((value) => text(2, value)),
    text(3, name),
    text(4, op),
    ...Object.entries(attributes).map(([key, value]) => message(5, text(1, key), ...attributeProto(value))),
  );
}

/** The value of an attribute, and the number of its type. */
function attributeProto(value: Attribute): Encoded[] {
  if (typeof value === 'number') return [integer(3, value), integer(20, 2)];
  if (typeof value === 'string') return [text(4, value), integer(20, 3)];
  if ('float' in value) return [float(2, value.float), integer(20, 1)];
  return [...value.map((item) => integer(8, item)), integer(20, 7)];
}

/** An input or output: a tensor type with a shape. */
function portProto(field: number, { name, type, shape }: Port): Encoded {
  const sizes = shape.map((size) => message(1, typeof size === 'number' ? integer(1, size) : text(2, size)));
  return message(field, text(1, name), message(2, message(1, integer(1, typeNumbers[type]), message(2, ...sizes))));
}
