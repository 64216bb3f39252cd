import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { broadcastStrides, rowMajor, stridedMap, type WgslTypes } from './strided-map.ts';

type Unary = (x: string, types: WgslTypes) => string;
type Binary = (a: string, b: string, types: WgslTypes) => string;

/** erf to 1.5e-7: Abramowitz and Stegun 7.1.26 is 1.5e-7 off at most; near 0 the series keeps the relative error small. */
export const erfFunction = ({ float, bool }: WgslTypes): string => `fn erf(x: ${float}) -> ${float} {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let far = 1.0 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  let s = x * x;
  let near = a * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706 + s * 0.0052239776))));
  let small: ${bool} = a < ${float}(0.5);
  return sign(x) * select(far, near, small);
}`;

/** Of float32, to float32. */
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
  [tf.Tanh]: (x, { float }) => `tanh(clamp(${x}, ${float}(-20.0), ${float}(20.0)))`,
  [tf.Erf]: (x) => `erf(${x})`,
  [tf.Sin]: (x) => `sin(${x})`,
  [tf.Cos]: (x) => `cos(${x})`,
  [tf.Floor]: (x) => `floor(${x})`,
  [tf.Ceil]: (x) => `ceil(${x})`,
  [tf.Round]: (x) => `round(${x})`,
  [tf.Softplus]: (x, { float }) => `max(${x}, ${float}()) + log(1.0 + exp(-abs(${x})))`,
  [tf.Elu]: (x, { float }) => `select(exp(${x}) - 1.0, ${x}, ${x} >= ${float}())`,
};

/** Of float32 or int32, to the same type. */
const anyUnary: Record<string, Unary> = {
  [tf.Neg]: (x) => `-${x}`,
  [tf.Abs]: (x) => `abs(${x})`,
  [tf.Sign]: (x) => `sign(${x})`,
  [tf.Square]: (x) => `${x} * ${x}`,
  [tf.Relu]: (x) => `max(${x}, ${x} - ${x})`,
};

/** Of float32 or int32, to the inputs' type. */
const arithmetic: Record<string, Binary> = {
  [tf.Add]: (a, b) => `${a} + ${b}`,
  [tf.Sub]: (a, b) => `${a} - ${b}`,
  [tf.Multiply]: (a, b) => `${a} * ${b}`,
  [tf.RealDiv]: (a, b) => `${a} / ${b}`,
  [tf.Maximum]: (a, b) => `max(${a}, ${b})`,
  [tf.Minimum]: (a, b) => `min(${a}, ${b})`,
  [tf.SquaredDifference]: (a, b) => `(${a} - ${b}) * (${a} - ${b})`,
  DivNoNan: (a, b) => `select(${a} / ${b}, ${a} - ${a}, ${b} == ${b} - ${b})`,
  [tf.FloorDiv]: (a, b, { float, int }) => `${int}(floor(${float}(${a}) / ${float}(${b})))`,
  [tf.Mod]: (a, b) => `${a} - ${b} * floor(${a} / ${b})`,
  [tf.Pow]: (a, b) => `power(${a}, ${b})`,
};

const comparisons: Record<string, string> = {
  [tf.Equal]: '==',
  [tf.NotEqual]: '!=',
  [tf.Greater]: '>',
  [tf.GreaterEqual]: '>=',
  [tf.Less]: '<',
  [tf.LessEqual]: '<=',
};

/** pow of any sign: WGSL leaves negative bases undefined. */
const powerFunction = ({ float, bool }: WgslTypes): string => `fn power(a: ${float}, b: ${float}) -> ${float} {
  let size = pow(abs(a), b);
  let odd: ${bool} = abs(b - 2.0 * floor(b / 2.0)) == ${float}(1.0);
  let signed = select(size, -size, odd);
  let whole: ${bool} = floor(b) == b;
  let unknown = ${float}(bitcast<f32>(0x7fc00000u + u32(p.units) * 0u));
  return select(select(select(unknown, signed, whole), size, a >= ${float}()), ${float}(1.0), b == ${float}());
}`;

export function unary(
  backend: WebgpuBackend,
  label: string,
  x: tf.TensorInfo,
  value: Unary,
  dtype: tf.DataType = x.dtype,
  constants: readonly number[] = [],
): tf.TensorInfo {
  return stridedMap(backend, {
    label,
    inputs: [{ tensor: x, strides: rowMajor(x.shape) }],
    shape: x.shape,
    dtype,
    value: ([v], types) => value(v!, types),
    constants,
    ...(label === tf.Erf && { functions: erfFunction }),
  });
}

export function binary(
  backend: WebgpuBackend,
  label: string,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  value: Binary,
  dtype: tf.DataType = a.dtype,
): tf.TensorInfo {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  return stridedMap(backend, {
    label,
    inputs: [a, b].map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, shape) })),
    shape,
    dtype,
    value: ([x, y], types) => value(x!, y!, types),
    ...(label === tf.Pow && { functions: powerFunction }),
  });
}

type Run = (
  backend: WebgpuBackend,
  inputs: Record<string, tf.TensorInfo>,
  attrs: Record<string, number>,
) => tf.TensorInfo;

const kernel = (kernelName: string, run: Run): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) =>
    run(backend as WebgpuBackend, inputs as Record<string, tf.TensorInfo>, (attrs ?? {}) as Record<string, number>),
});

export function cast(backend: WebgpuBackend, x: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.makeView(x, x.shape);
  if (dtype === 'bool') return unary(backend, 'Cast to bool', x, (v, { int }) => `${int}(${v} != ${v} - ${v})`, dtype);
  if (dtype === 'int32' && x.dtype === 'bool') return unary(backend, 'Cast bool to int', x, (v) => v, dtype);
  return unary(
    backend,
    `Cast to ${dtype}`,
    x,
    (v, { int, float }) => `${dtype === 'int32' ? int : float}(${v})`,
    dtype,
  );
}

export const elementwiseKernels: readonly Kernel[] = [
  ...Object.entries(floatUnary).map(([name, value]) =>
    kernel(name, (backend, { x }) => unary(backend, name, x!, value)),
  ),
  ...Object.entries(anyUnary).map(([name, value]) => kernel(name, (backend, { x }) => unary(backend, name, x!, value))),
  ...Object.entries(arithmetic).map(([name, value]) =>
    kernel(name, (backend, { a, b }) => binary(backend, name, a!, b!, value)),
  ),
  ...Object.entries(comparisons).map(([name, sign]) =>
    kernel(name, (backend, { a, b }) =>
      binary(backend, name, a!, b!, (x, y, { int }) => `${int}(${x} ${sign} ${y})`, 'bool'),
    ),
  ),
  kernel(tf.LogicalAnd, (backend, { a, b }) => binary(backend, 'LogicalAnd', a!, b!, (x, y) => `${x} & ${y}`, 'bool')),
  kernel(tf.LogicalOr, (backend, { a, b }) => binary(backend, 'LogicalOr', a!, b!, (x, y) => `${x} | ${y}`, 'bool')),
  kernel(tf.LogicalNot, (backend, { x }) => unary(backend, 'LogicalNot', x!, (v) => `1 - ${v}`, 'bool')),
  kernel(tf.Relu6, (backend, { x }) =>
    unary(backend, 'Relu6', x!, (v, { float }) => `clamp(${v}, ${float}(), ${float}(6.0))`),
  ),
  kernel(tf.LeakyRelu, (backend, { x }, { alpha }) =>
    unary(backend, 'LeakyRelu', x!, (v, { float }) => `select(p.c0 * ${v}, ${v}, ${v} > ${float}())`, 'float32', [
      alpha!,
    ]),
  ),
  kernel(tf.Step, (backend, { x }, { alpha }) =>
    unary(
      backend,
      'Step',
      x!,
      (v, { float }) => `select(${float}(p.c0), ${float}(1.0), ${v} > ${float}())`,
      'float32',
      [alpha!],
    ),
  ),
  kernel(tf.ClipByValue, (backend, { x }, { clipValueMin, clipValueMax }) =>
    unary(backend, 'ClipByValue', x!, (v, { float }) => `clamp(${v}, ${float}(p.c0), ${float}(p.c1))`, 'float32', [
      clipValueMin!,
      clipValueMax!,
    ]),
  ),
  kernel(tf.EluGrad, (backend, { dy, y }) =>
    binary(backend, 'EluGrad', dy!, y!, (d, v, { float }) => `select(${d} * (${v} + 1.0), ${d}, ${v} >= ${float}())`),
  ),
  {
    kernelName: tf.Cast,
    kernelFunc: ({ inputs, attrs, backend }) =>
      cast(backend as WebgpuBackend, inputs.x as tf.TensorInfo, (attrs as unknown as tf.CastAttrs).dtype),
  },
  {
    kernelName: tf.Select,
    kernelFunc: ({ inputs, backend }) => {
      const { condition, t, e } = inputs as unknown as Record<'condition' | 't' | 'e', tf.TensorInfo>;
      // a condition of rank 1 chooses whole rows
      const shape =
        condition.shape.length === t.shape.length
          ? condition.shape
          : [...condition.shape, ...t.shape.slice(1).map(() => 1)];
      return stridedMap(backend as WebgpuBackend, {
        label: 'Select',
        inputs: [
          { tensor: condition, strides: broadcastStrides(shape, t.shape) },
          ...[t, e].map((tensor) => ({ tensor, strides: rowMajor(t.shape) })),
        ],
        shape: t.shape,
        dtype: t.dtype,
        value: ([c, yes, no], { bool }) => `select(${no}, ${yes}, ${bool}(${c}))`,
      });
    },
  },
  {
    kernelName: tf.AddN,
    kernelFunc: ({ inputs, backend: current }) => {
      const backend = current as WebgpuBackend;
      const terms = inputs as unknown as tf.TensorInfo[];
      const sum = (list: tf.TensorInfo[]): tf.TensorInfo =>
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
    },
  },
];
