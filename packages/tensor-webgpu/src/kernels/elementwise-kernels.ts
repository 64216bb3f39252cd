import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { type Binary, binary, cast, casting, type Unary, unary } from './elementwise.ts';
import { isNan } from './elementwise.wgsl.ts';
import type { Kernel } from './index.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';

/** Computed in floats; int32 operands are converted on the way in and out. */
const floatUnary: Record<string, Unary> = {
  [tf.Exp]: (x) => `exp(${x})`,
  [tf.Expm1]: (x, { float }) =>
    `select(exp(${x}) - 1.0, ${x} * (1.0 + ${x} * (0.5 + ${x} / 6.0)), abs(${x}) < ${float}(1e-2))`,
  [tf.Log]: (x) => `log(${x})`,
  [tf.Log1p]: (x, { float }) =>
    `select(log(1.0 + ${x}), ${x} * (1.0 - ${x} * (0.5 - ${x} / 3.0)), abs(${x}) < ${float}(1e-2))`,
  [tf.Sqrt]: (x) => `sqrt(${x})`,
  [tf.Rsqrt]: (x) => `inverseSqrt(${x})`,
  [tf.Reciprocal]: (x) => `1.0 / ${x}`,
  [tf.Sigmoid]: (x) => `1.0 / (1.0 + exp(-${x}))`,
  // tanh of large numbers overflows on some adapters
  [tf.Tanh]: (x, { float }) => `select(tanh(${x}), sign(${x}), abs(${x}) > ${float}(20.0))`,
  [tf.Erf]: (x) => `erf(${x})`,
  [tf.Sin]: (x) => `sin(${x})`,
  [tf.Cos]: (x) => `cos(${x})`,
  [tf.Tan]: (x) => `tan(${x})`,
  [tf.Floor]: (x) => `floor(${x})`,
  [tf.Ceil]: (x) => `ceil(${x})`,
  [tf.Round]: (x) => `round(${x})`,
  [tf.Softplus]: (x, { float }) => `max(${x}, ${float}()) + log(1.0 + exp(-abs(${x})))`,
  [tf.Elu]: (x, { float }) => `select(exp(${x}) - 1.0, ${x}, ${x} >= ${float}())`,
  [tf.Selu]: (x, { float }) =>
    `select(1.7580993408473768 * (exp(${x}) - 1.0), 1.0507009873554805 * ${x}, ${x} >= ${float}())`,
};

/** Of float32 or int32, to the same type. Comparisons are written so that NaN stays NaN. */
const anyUnary: Record<string, Unary> = {
  [tf.Neg]: (x) => `-${x}`,
  [tf.Abs]: (x) => `abs(${x})`,
  [tf.Sign]: (x) => `sign(${x})`,
  [tf.Square]: (x) => `${x} * ${x}`,
  [tf.Relu]: (x, { own }) => `select(${x}, ${own}(), ${x} < ${own}())`,
  [tf.Relu6]: (x, { own }) => `select(select(${x}, ${own}(), ${x} < ${own}()), ${own}(6), ${x} > ${own}(6))`,
};

const magnitude = (x: string, int: string): string => `(bitcast<${int}>(${x}) & ${int}(0x7fffffff))`;

/** Of float32, to bool. */
const tests: Record<string, Unary> = {
  [tf.IsNan]: (x, types) => `${types.int}(${isNan(x, types, types.own)})`,
  [tf.IsInf]: (x, { int }) => `${int}(${magnitude(x, int)} == ${int}(0x7f800000))`,
  [tf.IsFinite]: (x, { int }) => `${int}(${magnitude(x, int)} < ${int}(0x7f800000))`,
};

/** Of float32 or int32, to the operands' type. */
const arithmetic: Record<string, Binary> = {
  [tf.Add]: (a, b) => `${a} + ${b}`,
  [tf.Sub]: (a, b) => `${a} - ${b}`,
  [tf.Multiply]: (a, b) => `${a} * ${b}`,
  [tf.RealDiv]: (a, b) => `${a} / ${b}`,
  [tf.Maximum]: (a, b, types) => `select(select(${b}, ${a}, ${a} > ${b}), ${a}, ${isNan(a, types, types.own)})`,
  [tf.Minimum]: (a, b, types) => `select(select(${b}, ${a}, ${a} < ${b}), ${a}, ${isNan(a, types, types.own)})`,
  [tf.SquaredDifference]: (a, b) => `(${a} - ${b}) * (${a} - ${b})`,
  [tf.Mod]: (a, b, { own, float }) =>
    own === float ? `${a} - ${b} * floor(${a} / ${b})` : `(${a} % ${b} + ${b}) % ${b}`,
  [tf.Pow]: (a, b, { own, float }) =>
    own === float ? `power(${a}, ${b})` : `${own}(round(power(${float}(${a}), ${float}(${b}))))`,
  [tf.Atan2]: (a, b) => `atan2(${a}, ${b})`,
};

const comparisons: Record<string, string> = {
  [tf.Equal]: '==',
  [tf.NotEqual]: '!=',
  [tf.Greater]: '>',
  [tf.GreaterEqual]: '>=',
  [tf.Less]: '<',
  [tf.LessEqual]: '<=',
};

type Named = Record<string, tf.TensorInfo>;
type Run = (backend: WebgpuBackend, inputs: Named, attrs: Record<string, number>) => tf.TensorInfo;

const kernel = (kernelName: string, run: Run): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) =>
    run(backend as WebgpuBackend, inputs as Named, (attrs ?? {}) as Record<string, number>),
});

const inFloats =
  (value: Unary): Unary =>
  (x, types) =>
    types.own === types.float ? value(x, types) : `${types.int}(${value(`${types.float}(${x})`, types)})`;

function select(
  backend: WebgpuBackend,
  { condition, t, e }: Record<'condition' | 't' | 'e', tf.TensorInfo>,
): tf.TensorInfo {
  // a condition of rank 1 chooses whole rows
  const shape =
    condition.shape.length === t.shape.length
      ? condition.shape
      : [...condition.shape, ...t.shape.slice(1).map(() => 1)];
  const dtype = tf.upcastType(t.dtype, e.dtype);
  return casting(backend, t, dtype, (yes) =>
    casting(backend, e, dtype, (no) =>
      stridedMap(backend, {
        label: 'Select',
        inputs: [
          { tensor: condition, strides: broadcastStrides(shape, t.shape) },
          ...[yes, no].map((tensor) => ({ tensor, strides: rowMajor(t.shape) })),
        ],
        shape: t.shape,
        dtype,
        value: ([c, a, b], { int }) => `select(${b}, ${a}, ${c} != ${int}())`,
      }),
    ),
  );
}

function addAll(backend: WebgpuBackend, terms: readonly tf.TensorInfo[]): tf.TensorInfo {
  const sum = (list: readonly tf.TensorInfo[]): tf.TensorInfo =>
    stridedMap(backend, {
      label: `AddN ${list.length}`,
      inputs: list.map((tensor) => ({ tensor, strides: rowMajor(tensor.shape) })),
      shape: list[0]!.shape,
      dtype: list[0]!.dtype,
      value: (values) => values.join(' + '),
    });
  let total = sum(terms.slice(0, 4)); // four at a time: few shader texts, few bindings
  for (let i = 4; i < terms.length; i += 3) {
    const next = sum([total, ...terms.slice(i, i + 3)]);
    backend.disposeData(total.dataId);
    total = next;
  }
  return total;
}

export const elementwiseKernels: readonly Kernel[] = [
  ...Object.entries(floatUnary).map(([label, value]) =>
    kernel(label, (backend, { x }) => unary(backend, x!, { label, value: inFloats(value) })),
  ),
  ...Object.entries(anyUnary).map(([label, value]) =>
    kernel(label, (backend, { x }) => unary(backend, x!, { label, value })),
  ),
  ...Object.entries(tests).map(([label, value]) =>
    kernel(label, (backend, { x }) => unary(backend, x!, { label, value, dtype: 'bool' })),
  ),
  ...Object.entries(arithmetic).map(([label, value]) =>
    kernel(label, (backend, { a, b }) => binary(backend, a!, b!, { label, value })),
  ),
  ...Object.entries(comparisons).map(([label, sign]) =>
    kernel(label, (backend, { a, b }) =>
      binary(backend, a!, b!, { label, value: (x, y, { int }) => `${int}(${x} ${sign} ${y})`, dtype: 'bool' }),
    ),
  ),
  kernel(tf.FloorDiv, (backend, { a, b }) =>
    binary(backend, a!, b!, {
      label: 'FloorDiv',
      value: (x, y, { float, int }) => `${int}(floor(${float}(${x}) / ${float}(${y})))`,
      dtype: 'int32',
    }),
  ),
  kernel(tf.LogicalAnd, (backend, { a, b }) =>
    binary(backend, a!, b!, { label: 'LogicalAnd', value: (x, y) => `${x} & ${y}`, dtype: 'bool' }),
  ),
  kernel(tf.LogicalOr, (backend, { a, b }) =>
    binary(backend, a!, b!, { label: 'LogicalOr', value: (x, y) => `${x} | ${y}`, dtype: 'bool' }),
  ),
  kernel(tf.LogicalNot, (backend, { x }) =>
    unary(backend, x!, { label: 'LogicalNot', value: (v) => `1 - ${v}`, dtype: 'bool' }),
  ),
  kernel(tf.LeakyRelu, (backend, { x }, { alpha }) =>
    unary(backend, x!, {
      label: 'LeakyRelu',
      value: inFloats((v, { float }) => `select(${v}, p.c0 * ${v}, ${v} < ${float}())`),
      constants: [alpha!],
    }),
  ),
  kernel(tf.Prelu, (backend, { x, alpha }) =>
    binary(backend, x!, alpha!, {
      label: 'Prelu',
      value: (v, slope, { float }) => `select(${v}, ${slope} * ${v}, ${v} < ${float}())`,
    }),
  ),
  kernel(tf.Step, (backend, { x }, { alpha }) =>
    unary(backend, x!, {
      label: 'Step',
      value: (v, types) => {
        const step = `select(${types.constant('p.c0')}, ${types.own}(1), ${v} > ${types.own}())`;
        return `select(${step}, ${v}, ${isNan(v, types, types.own)})`;
      },
      constants: [alpha!],
    }),
  ),
  kernel(tf.ClipByValue, (backend, { x }, { clipValueMin, clipValueMax }) =>
    unary(backend, x!, {
      label: 'ClipByValue',
      value: (v, { constant }) => {
        const [low, high] = [constant('p.c0'), constant('p.c1')];
        return `select(select(${v}, ${low}, ${v} < ${low}), ${high}, ${v} > ${high})`;
      },
      constants: [clipValueMin!, clipValueMax!],
    }),
  ),
  kernel(tf.EluGrad, (backend, { dy, y }) =>
    binary(backend, dy!, y!, {
      label: 'EluGrad',
      value: (d, v, { float }) => `select(${d} * (${v} + 1.0), ${d}, ${v} >= ${float}())`,
    }),
  ),
  kernel(tf.Select, (backend, inputs) => select(backend, inputs as Record<'condition' | 't' | 'e', tf.TensorInfo>)),
  {
    kernelName: tf.Cast,
    kernelFunc: ({ inputs, attrs, backend }) =>
      cast(backend as WebgpuBackend, inputs.x as tf.TensorInfo, (attrs as unknown as tf.CastAttrs).dtype),
  },
  {
    kernelName: tf.AddN,
    kernelFunc: ({ inputs, backend }) => addAll(backend as WebgpuBackend, inputs as unknown as tf.TensorInfo[]),
  },
];
