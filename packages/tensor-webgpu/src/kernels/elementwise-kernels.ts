import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { binary, cast, casting, type Unary, unary } from './elementwise.ts';
import { isNan } from './elementwise.wgsl.ts';
import { anyUnary, arithmetic, comparison, comparisons, floatUnary, leaky, tests } from './elementwise-functions.ts';
import type { Kernel } from './index.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';
import { compareTexts } from './text.ts';

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

/** NaN gives NaN, by its bits: WGSL's functions need not. */
const keepingNan =
  (value: Unary): Unary =>
  (x, types) =>
    `select(${value(x, types)}, ${x}, ${isNan(x, types, types.float)})`;

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
    kernel(label, (backend, { x }) => unary(backend, x!, { label, value: inFloats(keepingNan(value)) })),
  ),
  kernel(tf.Exp, (backend, { x }) =>
    casting(backend, x!, 'float32', (floats) =>
      unary(backend, floats, { label: 'Exp', value: (v) => `exponential(${v})` }),
    ),
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
      a!.dtype === 'string'
        ? compareTexts(backend, [a!, b!], sign)
        : binary(backend, a!, b!, { label, value: comparison(sign), dtype: 'bool' }),
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
  kernel(tf.BitwiseAnd, (backend, { a, b }) =>
    binary(backend, a!, b!, { label: 'BitwiseAnd', value: (x, y) => `${x} & ${y}` }),
  ),
  kernel(tf.LeakyRelu, (backend, { x }, { alpha }) =>
    casting(backend, x!, 'float32', (floats) =>
      unary(backend, floats, { label: 'LeakyRelu', value: leaky, constants: [alpha!] }),
    ),
  ),
  kernel(tf.Prelu, (backend, { x, alpha }) =>
    casting(backend, x!, 'float32', (floats) =>
      casting(backend, alpha!, 'float32', (slopes) =>
        binary(backend, floats, slopes, {
          label: 'Prelu',
          value: (v, slope, { float }) => `select(${v}, ${slope} * ${v}, ${v} < ${float}())`,
        }),
      ),
    ),
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
