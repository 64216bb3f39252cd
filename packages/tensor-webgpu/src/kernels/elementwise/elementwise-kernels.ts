import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { compareTexts } from '../cpu/string-tensors.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { broadcastStrides, rowMajor, stridedMap } from '../maps/strided-map.ts';
import { binary, cast, casting, unary } from './elementwise.ts';
import { isNan, keptNan } from './elementwise.wgsl.ts';
import {
  anyUnary,
  arithmetic,
  type Binary,
  type Comparison,
  comparison,
  comparisons,
  floatUnary,
  leaky,
  tests,
  type Unary,
} from './elementwise-functions.ts';

const inFloats =
  (value: Unary): Unary =>
  (x, types) =>
    types.own === types.float ? value(x, types) : `${types.int}(${value(`${types.float}(${x})`, types)})`;

/** NaN gives NaN, by its bits: WGSL's functions need not. */
const keepingNan =
  (value: Unary): Unary =>
  (x, types) =>
    `select(${value(x, types)}, ${x}, ${isNan(x, types, types.float)})`;

const selecting = stridedMap({
  label: 'Select',
  value: ([c, a, b], { int }) => `select(${b}, ${a}, ${c} != ${int}())`,
});

function select(backend: WebgpuBackend, { condition, t, e }: Tensors<'condition' | 't' | 'e'>): tf.TensorInfo {
  // a condition of rank 1 chooses whole rows
  const shape =
    condition.shape.length === t.shape.length
      ? condition.shape
      : [...condition.shape, ...t.shape.slice(1).map(() => 1)];
  const dtype = tf.upcastType(t.dtype, e.dtype);
  return casting(backend, t, dtype, (yes) =>
    casting(backend, e, dtype, (no) =>
      selecting(backend, {
        inputs: [
          { tensor: condition, strides: broadcastStrides(shape, t.shape) },
          ...[yes, no].map((tensor) => ({ tensor, strides: rowMajor(t.shape) })),
        ],
        shape: t.shape,
        dtype,
      }),
    ),
  );
}

const adding = memoised(({ terms }: { terms: number }) =>
  stridedMap({ label: `AddN ${terms}`, value: (values) => values.join(' + ') }),
);

function addAll(backend: WebgpuBackend, terms: readonly tf.TensorInfo[]): tf.TensorInfo {
  const sum = (list: readonly tf.TensorInfo[]): tf.TensorInfo =>
    adding({ terms: list.length })(backend, {
      inputs: list.map((tensor) => ({ tensor, strides: rowMajor(tensor.shape) })),
      shape: list[0]!.shape,
      dtype: list[0]!.dtype,
    });
  let total = sum(terms.slice(0, 4)); // four at a time: few shader texts, few bindings
  for (let i = 4; i < terms.length; i += 3) {
    const next = sum([total, ...terms.slice(i, i + 3)]);
    backend.disposeData(total.dataId);
    total = next;
  }
  return total;
}

type How<Value> = { label: string; value: Value; dtype?: tf.DataType };

const ofOne = (how: How<Unary>): Kernel => {
  const run = unary(how);
  return kernel<Tensors<'x'>>(how.label, (backend, { x }) => run(backend, x));
};

const ofTwo = (how: How<Binary>): Kernel => {
  const run = binary(how);
  return kernel<Tensors<'a' | 'b'>>(how.label, (backend, { a, b }) => run(backend, a, b));
};

function compare(label: string, sign: Comparison): Kernel {
  const run = binary({ label, value: comparison(sign), dtype: 'bool' });
  return kernel<Tensors<'a' | 'b'>>(label, (backend, { a, b }) =>
    a.dtype === 'string' ? compareTexts(backend, [a, b], sign) : run(backend, a, b),
  );
}

const exponential = unary({ label: tf.Exp, value: (v) => `exponential(${v})` });
const leakyRelu = unary({ label: tf.LeakyRelu, value: leaky, constants: 1 });
const prelu = binary({
  label: tf.Prelu,
  value: (v, slope, { float }) => `select(${v}, ${slope} * ${v}, ${v} < ${float}())`,
});
const step = unary({
  label: tf.Step,
  value: (v, types) => {
    const step = `select(${types.constant('p.c0')}, ${types.own}(1), ${v} > ${types.own}())`;
    return `select(${step}, ${v}, ${isNan(v, types, types.own)})`;
  },
  constants: 1,
});
const clip = unary({
  label: tf.ClipByValue,
  value: (v, types) => {
    const [low, high] = [types.constant('p.c0'), types.constant('p.c1')];
    return keptNan(v, types, `clamp(${v}, ${low}, ${high})`);
  },
  constants: 2,
});
const eluGradient = binary({
  label: tf.EluGrad,
  value: (d, v, { float }) => `select(${d} * (${v} + 1.0), ${d}, ${v} >= ${float}())`,
});

export const elementwiseKernels: readonly Kernel[] = [
  ...Object.entries(floatUnary).map(([label, value]) => ofOne({ label, value: inFloats(keepingNan(value)) })),
  kernel<Tensors<'x'>>(tf.Exp, (backend, { x }) =>
    casting(backend, x, 'float32', (floats) => exponential(backend, floats)),
  ),
  ...Object.entries(anyUnary).map(([label, value]) => ofOne({ label, value })),
  ...Object.entries(tests).map(([label, value]) => ofOne({ label, value, dtype: 'bool' })),
  ...Object.entries(arithmetic).map(([label, value]) => ofTwo({ label, value })),
  ...Object.entries(comparisons).map(([label, sign]) => compare(label, sign)),
  ofTwo({
    label: tf.FloorDiv,
    value: (x, y, { int }) => `${int}(quotient(${x}, ${y}))`,
    dtype: 'int32',
  }),
  ofTwo({ label: tf.LogicalAnd, value: (x, y) => `${x} & ${y}`, dtype: 'bool' }),
  ofTwo({ label: tf.LogicalOr, value: (x, y) => `${x} | ${y}`, dtype: 'bool' }),
  ofOne({ label: tf.LogicalNot, value: (v) => `1 - ${v}`, dtype: 'bool' }),
  ofTwo({ label: tf.BitwiseAnd, value: (x, y) => `${x} & ${y}` }),
  kernel<Tensors<'x'>, tf.LeakyReluAttrs>(tf.LeakyRelu, (backend, { x }, { alpha }) =>
    casting(backend, x, 'float32', (floats) => leakyRelu(backend, floats, [alpha])),
  ),
  kernel<Tensors<'x' | 'alpha'>>(tf.Prelu, (backend, { x, alpha }) =>
    casting(backend, x, 'float32', (floats) =>
      casting(backend, alpha, 'float32', (slopes) => prelu(backend, floats, slopes)),
    ),
  ),
  kernel<Tensors<'x'>, tf.StepAttrs>(tf.Step, (backend, { x }, { alpha }) => step(backend, x, [alpha])),
  kernel<Tensors<'x'>, tf.ClipByValueAttrs>(tf.ClipByValue, (backend, { x }, { clipValueMin, clipValueMax }) =>
    clip(backend, x, [clipValueMin, clipValueMax]),
  ),
  kernel<Tensors<'dy' | 'y'>>(tf.EluGrad, (backend, { dy, y }) => eluGradient(backend, dy, y)),
  kernel(tf.Select, select),
  kernel<Tensors<'x'>, tf.CastAttrs>(tf.Cast, (backend, { x }, { dtype }) => cast(backend, x, dtype)),
  kernel<readonly tf.TensorInfo[]>(tf.AddN, addAll),
];
