import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { erfFunction, logarithmFunction, powerFunction, unknownFunction } from './elementwise.wgsl.ts';
import { exponentialFunction } from './exponential.wgsl.ts';
import { broadcastStrides, rowMajor, stridedMap, type WgslTypes } from './strided-map.ts';
import { trigonometryFunctions } from './trigonometry.wgsl.ts';

/** WGSL types at one place, with the type that the operands have themselves. */
interface OwnTypes extends WgslTypes {
  readonly own: string;
  /** A constant of the uniform, such as `p.c0`, in that type. */
  readonly constant: (name: string) => string;
}

export type Unary = (x: string, types: OwnTypes) => string;
export type Binary = (a: string, b: string, types: OwnTypes) => string;

/** Module-scope functions that the formulas of some kernels call. */
const functionsOf: Readonly<Record<string, (types: WgslTypes) => string>> = {
  [tf.Erf]: erfFunction,
  [tf.Pow]: powerFunction,
  [tf.Exp]: exponentialFunction,
  [tf.Sin]: (types) => trigonometryFunctions('sine', types),
  [tf.Cos]: (types) => trigonometryFunctions('cosine', types),
  [tf.Tan]: (types) => trigonometryFunctions('tangent', types),
  ...Object.fromEntries([tf.Log, tf.Log1p, tf.Atanh].map((label) => [label, logarithmFunction])),
  ...Object.fromEntries([tf.Asin, tf.Acos, tf.Acosh].map((label) => [label, unknownFunction])),
};

const inlineFrom = 1024; // results smaller than this are not worth a pipeline of their own

const owning = (types: WgslTypes, dtype: tf.DataType): OwnTypes => ({
  ...types,
  own: dtype === 'float32' ? types.float : types.int,
  constant: (name) => (dtype === 'float32' ? `${types.float}(${name})` : `${types.int}(i32(${name}))`),
});

/** out[i] = value(x[i]); `constants` are read as `p.c0` to `p.c3`. */
export function unary(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  how: { label: string; value: Unary; dtype?: tf.DataType; constants?: readonly number[] },
): tf.TensorInfo {
  return stridedMap(backend, {
    label: how.label,
    inputs: [{ tensor: x, strides: rowMajor(x.shape) }],
    shape: x.shape,
    dtype: how.dtype ?? x.dtype,
    value: ([v], types) => how.value(v!, owning(types, x.dtype)),
    constants: how.constants ?? [],
    ...(functionsOf[how.label] && { functions: functionsOf[how.label]! }),
  });
}

/** out = value(a, b) with broadcasting. A scalar that is known on the CPU travels in the uniform. */
export function binary(
  backend: WebgpuBackend,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  how: { label: string; value: Binary; dtype?: tf.DataType },
): tf.TensorInfo {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const size = tf.util.sizeFromShape(shape);
  const scalarOf = (x: tf.TensorInfo): number | undefined =>
    size >= inlineFrom && x.dtype === 'float32' && tf.util.sizeFromShape(x.shape) === 1
      ? backend.cpuValues(x)?.[0]
      : undefined;
  const scalarB = scalarOf(b);
  const scalarA = scalarB === undefined ? scalarOf(a) : undefined;
  const scalar = scalarB ?? scalarA;
  const read = scalarB !== undefined ? [a] : scalarA !== undefined ? [b] : [a, b];
  return stridedMap(backend, {
    label: how.label,
    inputs: read.map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, shape) })),
    shape,
    dtype: how.dtype ?? a.dtype,
    value: ([x, y], types) => {
      const constant = `${types.float}(p.c0)`;
      const operands = owning(types, a.dtype);
      if (scalarB !== undefined) return how.value(x!, constant, operands);
      return scalarA !== undefined ? how.value(constant, x!, operands) : how.value(x!, y!, operands);
    },
    constants: scalar === undefined ? [] : [scalar],
    ...(functionsOf[how.label] && { functions: functionsOf[how.label]! }),
  });
}

/** Another dtype: floats lose their fraction on the way to int32, anything but 0 is true. */
export function cast(backend: WebgpuBackend, x: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.makeView(x, x.shape);
  if (dtype === 'bool')
    return unary(backend, x, {
      label: 'Cast to bool',
      value: (v, { int, own }) => `${int}(${v} != ${own}())`,
      dtype,
    });
  if (dtype !== 'int32' && dtype !== 'float32')
    throw new Error(`cast: expected float32, int32 or bool, got ${dtype}; this backend does not hold it`);
  const type = dtype === 'int32' ? 'int' : 'float';
  return unary(backend, x, { label: `Cast to ${dtype}`, value: (v, types) => `${types[type]}(${v})`, dtype });
}

/** Runs `use` on `x` as `dtype` and frees the copy that this took. */
export function casting<T>(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  dtype: tf.DataType,
  use: (x: tf.TensorInfo) => T,
): T {
  if (x.dtype === dtype) return use(x);
  const other = cast(backend, x, dtype);
  const made = use(other);
  backend.disposeData(other.dataId);
  return made;
}
