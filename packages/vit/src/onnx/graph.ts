import type { RawTensor, Weights } from '@slimsam/weights';
import { encodeTensor, scope } from '@slimsam/weights';

/** How a graph holds its weights and computes. */
export type Float = 'F32' | 'F16';

/** Types of values, by their names in safetensors. */
type ValueType = Float | 'I64';

/** A whole number or several of them, a string, or a number that is no whole one. */
export type Attribute = number | readonly number[] | string | { readonly float: number };

/** A node: one operator of ONNX. */
export interface Node {
  readonly op: string;
  readonly name: string;
  inputs: readonly string[];
  outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** A constant of a graph; its bytes are read when they are written. */
export interface Initializer {
  readonly name: string;
  readonly type: ValueType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  read(): Promise<Uint8Array>;
}

/** An input or output: its sizes are numbers, or names for what is known when it runs. */
export interface Port {
  readonly name: string;
  readonly type: ValueType;
  readonly shape: readonly (number | string)[];
}

/** What is written to a file. */
export interface GraphRecord {
  readonly name: string;
  readonly nodes: Node[];
  readonly initializers: Map<string, Initializer>;
  readonly inputs: Port[];
  readonly outputs: Port[];
}

/** A graph that is being built. Values are known by their names: a node's value has the name of the node. */
export interface Graph {
  readonly record: GraphRecord;
  readonly float: Float;
  /** Adds an input. Floats are F32 outside; `node`s see what was asked for. */
  input(name: string, shape: Port['shape'], type?: ValueType): string;
  /** Makes a value an output, F32, under another name. */
  output(name: string, shape: Port['shape'], value: string): void;
  /** Adds a node with one value. */
  node(op: string, name: string, inputs: readonly string[], attributes?: Node['attributes']): string;
  /** Splits the last axis evenly. */
  split(name: string, value: string, parts: readonly string[]): string[];
  /** A weight by its checkpoint name, in the graph's float type unless another is given. */
  weight(name: string, type?: Float): string;
  /** Whether there is a weight of that checkpoint name. */
  has(name: string): boolean;
  /** The shape of a weight. */
  shapeOf(name: string): readonly number[];
  /** A vector of whole numbers. */
  integers(...values: number[]): string;
  /** One number, in the graph's float type unless another is given. */
  scalar(value: number, type?: Float): string;
  /** A constant that is no weight. */
  constant(name: string, type: ValueType, shape: readonly number[], values: ArrayLike<number>): string;
  /** From one float type to the other; nothing if they are the same. */
  cast(name: string, value: string, types: { from: Float; to: Float }): string;
}

/** The numbers of ONNX for types (TensorProto.DataType). */
export const typeNumbers = { F32: 1, I64: 7, F16: 10 } as const;
const bytesOf = { F32: 4, I64: 8, F16: 2 } as const;

/** Starts a graph on the weights. @throws from `weight` when one is missing, from `node` when a name occurs twice */
export function createGraph(name: string, weights: Weights, float: Float): Graph {
  const lookUp = scope(weights, '');
  const record: GraphRecord = { name, nodes: [], initializers: new Map(), inputs: [], outputs: [] };
  const values = new Set<string>();
  const add = (node: Node): readonly string[] => {
    for (const value of node.outputs) {
      if (values.has(value)) throw new Error(`createGraph: expected a new name in '${name}', got '${value}' again`);
      values.add(value);
    }
    record.nodes.push(node);
    return node.outputs;
  };
  const initializer = (
    name: string,
    type: ValueType,
    shape: readonly number[],
    read: () => Promise<RawTensor['data']>,
  ) => {
    const known = record.initializers.get(name);
    if (known && known.type !== type) throw new Error(`createGraph: expected '${name}' as ${known.type}, got ${type}`);
    const byteLength = shape.reduce((product, size) => product * size, bytesOf[type]);
    const encode = async () => encodeTensor(name, { dtype: type, shape: [...shape], data: await read() });
    record.initializers.set(name, { name, type, shape, byteLength, read: encode });
    return name;
  };
  const graph: Graph = {
    record,
    float,
    input(name, shape, type = 'F32') {
      record.inputs.push({ name, type, shape });
      values.add(name);
      return name;
    },
    output(name, shape, value) {
      record.outputs.push({ name, type: 'F32', shape });
      if (float === 'F16')
        add({ op: 'Cast', name, inputs: [value], outputs: [name], attributes: { to: typeNumbers.F32 } });
      else rename(record.nodes, value, name);
    },
    node: (op, name, inputs, attributes = {}) => add({ op, name, inputs, outputs: [name], attributes })[0]!,
    split: (name, value, parts) => [
      ...add({ op: 'Split', name, inputs: [value], outputs: parts, attributes: { axis: -1 } }),
    ],
    weight: (name, type = float) => initializer(name, type, lookUp(name).shape, () => lookUp(name).data<'float32'>()),
    has: (name) => Object.hasOwn(weights, name),
    shapeOf: (name) => lookUp(name).shape,
    integers: (...values) => graph.constant(`int64 [${values.join(', ')}]`, 'I64', [values.length], values),
    scalar: (value, type = float) => graph.constant(`${type === 'F32' ? 'float' : 'half'} ${value}`, type, [], [value]),
    constant: (name, type, shape, values) =>
      initializer(name, type, shape, async () =>
        type === 'I64' ? Int32Array.from(values) : Float32Array.from(values),
      ),
    cast: (name, value, { from, to }) =>
      from === to ? value : graph.node('Cast', name, [value], { to: typeNumbers[to] }),
  };
  return graph;
}

/** Gives the value of a node another name, wherever it is read. */
function rename(nodes: readonly Node[], from: string, to: string): void {
  const renamed = (names: readonly string[]) => names.map((name) => (name === from ? to : name));
  for (const node of nodes) {
    node.inputs = renamed(node.inputs);
    node.outputs = renamed(node.outputs);
  }
}
