/** An ONNX graph of float32 tensors with one output: enough for the benches. */
export interface OnnxGraph {
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly output: Readonly<Record<string, readonly number[]>>;
  /** int64 vectors, the shapes of Reshape. */
  readonly constants?: Readonly<Record<string, readonly number[]>>;
  readonly scalars?: Readonly<Record<string, number>>;
  readonly nodes: readonly {
    readonly op: string;
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
    /** Transpose's. */
    readonly permutation?: readonly number[];
  }[];
}

const opset = 20; // the first with Gelu
const float = 1; // TensorProto.DataType
const int64 = 7;
const ints = 7; // AttributeProto.AttributeType

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

/** A protobuf field with a number. */
const number = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];
/** A protobuf field with bytes: a message or a text. */
function bytes(field: number, content: readonly number[] | string): number[] {
  const list = typeof content === 'string' ? [...new TextEncoder().encode(content)] : content;
  return [...varint(field * 8 + 2), ...varint(list.length), ...list];
}

/** ValueInfoProto. */
function tensorInfo(name: string, shape: readonly number[]): number[] {
  const dimensions = bytes(
    2,
    shape.flatMap((size) => bytes(1, number(1, size))),
  );
  return [...bytes(1, name), ...bytes(2, bytes(1, [...number(1, float), ...dimensions]))];
}

/** The graph as the bytes of a ModelProto. */
export function onnxModel({ inputs, output, constants = {}, scalars = {}, nodes }: OnnxGraph): Uint8Array {
  const nodeBytes = nodes.map(({ op, inputs: from, outputs: to, permutation }) => {
    const attribute = permutation
      ? bytes(5, [...bytes(1, 'perm'), ...permutation.flatMap((axis) => number(8, axis)), ...number(20, ints)])
      : [];
    return [
      ...from.flatMap((name) => bytes(1, name)),
      ...to.flatMap((name) => bytes(2, name)),
      ...bytes(4, op),
      ...attribute,
    ];
  });
  const initializers = [
    ...Object.entries(constants).map(([name, list]) => [
      ...number(1, list.length),
      ...number(2, int64),
      ...list.flatMap((value) => number(7, value)),
      ...bytes(8, name),
    ]),
    ...Object.entries(scalars).map(([name, value]) => [
      ...number(2, float),
      ...bytes(8, name),
      ...bytes(9, [...new Uint8Array(Float32Array.of(value).buffer)]),
    ]),
  ];
  const infos = (field: number, list: Readonly<Record<string, readonly number[]>>) =>
    Object.entries(list).flatMap(([name, shape]) => bytes(field, tensorInfo(name, shape)));
  const graph = [
    ...nodeBytes.flatMap((node) => bytes(1, node)),
    ...bytes(2, 'bench'),
    ...initializers.flatMap((tensor) => bytes(5, tensor)),
    ...infos(11, inputs),
    ...infos(12, output),
  ];
  return Uint8Array.from([...number(1, 9), ...bytes(7, graph), ...bytes(8, number(2, opset))]);
}
