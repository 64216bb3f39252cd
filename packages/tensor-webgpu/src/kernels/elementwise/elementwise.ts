import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import type { WgslTypes } from '../../program/types.wgsl.ts';
import { wholeArithmetic } from '../cpu/whole-numbers.ts';
import { broadcastStrides, rowMajor, stridedMap } from '../maps/strided-map.ts';
import {
  divisionFunctions,
  erfFunction,
  logarithmFunction,
  powerFunction,
  unknownFunction,
} from './elementwise.wgsl.ts';
import type { Binary, Unary } from './elementwise-functions.ts';
import { exponentialFunction } from './exponential.wgsl.ts';
import { trigonometryFunctions } from './trigonometry.wgsl.ts';

/** Module-scope functions that the formulas of some kernels call. */
const functionsOf: Readonly<Record<string, (types: WgslTypes & { readonly own: string }) => string>> = {
  [tf.Erf]: erfFunction,
  [tf.FloorDiv]: divisionFunctions,
  [tf.Mod]: divisionFunctions,
  [tf.Pow]: powerFunction,
  [tf.Exp]: exponentialFunction,
  [tf.Sin]: (types) => trigonometryFunctions('sine', types),
  [tf.Cos]: (types) => trigonometryFunctions('cosine', types),
  [tf.Tan]: (types) => trigonometryFunctions('tangent', types),
  ...Object.fromEntries([tf.Log, tf.Log1p, tf.Atanh].map((label) => [label, logarithmFunction])),
  ...Object.fromEntries([tf.Asin, tf.Acos, tf.Acosh].map((label) => [label, unknownFunction])),
};

const inlineFrom = 1024; // results smaller than this are not worth a pipeline of their own

/** out[i] = value(x[i]); `constants` numbers are read as `p.c0` to `p.c3`. The result has x's dtype unless another is given. */
export function unary(how: {
  label: string;
  value: Unary;
  dtype?: tf.DataType;
  constants?: number;
  whole?: (value: number) => number;
}): (backend: WebgpuBackend, x: tf.TensorInfo, constants?: readonly number[]) => tf.TensorInfo {
  const { label, value, dtype, constants: count = 0 } = how;
  const map = stridedMap({
    label,
    value: ([x], types) => value(x!, types),
    functions: functionsOf[label],
    whole: how.whole,
    constants: count,
  });
  return (backend, x, constants = []) =>
    map(backend, {
      inputs: [{ tensor: x, strides: rowMajor(x.shape) }],
      shape: x.shape,
      dtype: dtype ?? x.dtype,
      constants,
    });
}

/** out = value(a, b) with broadcasting. A scalar that is known on the CPU travels in the uniform. The dtype is a's unless another is given. */
export function binary(how: {
  label: string;
  value: Binary;
  dtype?: tf.DataType;
}): (backend: WebgpuBackend, a: tf.TensorInfo, b: tf.TensorInfo) => tf.TensorInfo {
  const { label, value } = how;
  const functions = functionsOf[label];
  const ofTwo = stridedMap({
    label,
    value: ([a, b], types) => value(a!, b!, types),
    functions,
    whole: wholeArithmetic[label],
  });
  const withScalar = (text: (x: string, scalar: string) => [string, string]) =>
    stridedMap({
      label,
      value: ([x], types) => value(...text(x!, `${types.float}(p.c0)`), types),
      functions,
      constants: 1,
    });
  const scalarLeft = withScalar((x, scalar) => [scalar, x]);
  const scalarRight = withScalar((x, scalar) => [x, scalar]);
  return (backend, a, b) => {
    const shape = tf.util.arraysEqual(a.shape, b.shape)
      ? a.shape
      : tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
    const strided = (tensor: tf.TensorInfo) => ({ tensor, strides: broadcastStrides(tensor.shape, shape) });
    const result = { shape, dtype: how.dtype ?? a.dtype };
    const size = tf.util.sizeFromShape(shape);
    const scalarOf = (x: tf.TensorInfo): number | undefined =>
      size >= inlineFrom && x.dtype === 'float32' && tf.util.sizeFromShape(x.shape) === 1
        ? backend.cpuValues(x)?.[0]
        : undefined;
    const right = scalarOf(b);
    if (right !== undefined) return scalarRight(backend, { inputs: [strided(a)], ...result, constants: [right] });
    const left = scalarOf(a);
    if (left !== undefined) return scalarLeft(backend, { inputs: [strided(b)], ...result, constants: [left] });
    return ofTwo(backend, { inputs: [strided(a), strided(b)], ...result });
  };
}

const casts = {
  bool: unary({ label: 'Cast to bool', value: (v, { int, own }) => `${int}(${v} != ${own}())`, dtype: 'bool' }),
  int32: unary({
    label: 'Cast to int32',
    value: (v, { int }) => `${int}(${v})`,
    dtype: 'int32',
    whole: Math.trunc,
  }),
  float32: unary({ label: 'Cast to float32', value: (v, { float }) => `${float}(${v})`, dtype: 'float32' }),
};

/** Another dtype: floats lose their fraction on the way to int32, anything but 0 is true. */
export function cast(backend: WebgpuBackend, x: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (x.dtype === dtype) return backend.makeView(x, x.shape);
  if (dtype !== 'int32' && dtype !== 'float32' && dtype !== 'bool')
    throw new Error(`cast: expected float32, int32 or bool, got ${dtype}; this backend does not hold it`);
  return casts[dtype](backend, x);
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
