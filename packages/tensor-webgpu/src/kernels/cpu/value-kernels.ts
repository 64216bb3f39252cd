/** Kernels whose results have a size that depends on values: they run on the CPU, on values that are still known there. */
import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';

/**
 * The values of a tensor without waiting for the GPU.
 *
 * @throws when they are only on the GPU
 */
export function knownValues(backend: WebgpuBackend, x: tf.TensorInfo, label: string): tf.backend_util.TypedArray {
  const values = tf.util.sizeFromShape(x.shape) === 0 ? new Int32Array(0) : backend.cpuValues(x);
  if (values) return values;
  throw new Error(
    `${label}: expected values that are known on the CPU, got [${x.shape}] computed on the GPU; ` +
      'use the op that ends in Async, or make a new tensor of `await tensor.data()`',
  );
}

type Selection = ReturnType<typeof tf.kernel_impls.nonMaxSuppressionV5Impl>;

interface SuppressionAttrs {
  readonly maxOutputSize: number;
  readonly iouThreshold: number;
  readonly scoreThreshold: number;
  readonly padToMaxOutputSize: boolean;
  readonly softNmsSigma: number;
}

const suppression = (
  kernelName: string,
  run: (
    boxes: tf.backend_util.TypedArray,
    scores: tf.backend_util.TypedArray,
    attrs: SuppressionAttrs,
  ) => Partial<Selection>,
): Kernel =>
  kernel<Tensors<'boxes' | 'scores'>, SuppressionAttrs>(kernelName, (backend, { boxes, scores }, attrs) => {
    const selected = run(
      knownValues(backend, boxes, 'nonMaxSuppression'),
      knownValues(backend, scores, 'nonMaxSuppression'),
      attrs,
    );
    const { selectedIndices = [], selectedScores, validOutputs } = selected;
    const indices = backend.makeTensor(Int32Array.from(selectedIndices), [selectedIndices.length], 'int32');
    if (selectedScores)
      return [indices, backend.makeTensor(Float32Array.from(selectedScores), [selectedScores.length], 'float32')];
    if (validOutputs !== undefined) return [indices, backend.makeTensor(Int32Array.of(validOutputs), [], 'int32')];
    return indices;
  });

/** The different slices along an axis in order of appearance, and which of them each slice is. */
function unique(backend: WebgpuBackend, x: tf.TensorInfo, axis: number): tf.TensorInfo[] {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  const isText = x.dtype === 'string';
  const texts = isText ? backend.texts(x) : [];
  const values = isText ? texts.map((text) => tf.util.decodeString(text)) : knownValues(backend, x, 'unique');
  const length = x.shape[along]!;
  const inner = tf.util.sizeFromShape(x.shape.slice(along + 1));
  const outer = tf.util.sizeFromShape(x.shape.slice(0, along));
  const placesOf = (slice: number) =>
    Array.from({ length: outer * inner }, (_, k) => (Math.floor(k / inner) * length + slice) * inner + (k % inner));
  const numbers = new Map<string, number>();
  const firsts: number[] = [];
  const indices = Int32Array.from({ length }, (_, slice) => {
    const key = JSON.stringify(placesOf(slice).map((at) => String(values[at])));
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, firsts.length);
    return firsts.push(slice) - 1;
  });
  const shape = x.shape.map((extent, d) => (d === along ? firsts.length : extent));
  const order = Array.from({ length: outer }, (_, o) =>
    firsts.flatMap((slice) => Array.from({ length: inner }, (_unused, n) => (o * length + slice) * inner + n)),
  ).flat();
  const kept = isText
    ? backend.makeTexts(
        order.map((at) => texts[at]!),
        shape,
      )
    : backend.makeTensor(
        x.dtype === 'float32'
          ? Float32Array.from(order, (at) => values[at] as number)
          : Int32Array.from(order, (at) => values[at] as number),
        shape,
        x.dtype,
      );
  return [kept, backend.makeTensor(indices, [length], 'int32')];
}

export const valueKernels: readonly Kernel[] = [
  suppression(tf.NonMaxSuppressionV3, (boxes, scores, { maxOutputSize, iouThreshold, scoreThreshold }) =>
    tf.kernel_impls.nonMaxSuppressionV3Impl(boxes, scores, maxOutputSize, iouThreshold, scoreThreshold),
  ),
  suppression(tf.NonMaxSuppressionV4, (boxes, scores, attrs) =>
    tf.kernel_impls.nonMaxSuppressionV4Impl(
      boxes,
      scores,
      attrs.maxOutputSize,
      attrs.iouThreshold,
      attrs.scoreThreshold,
      attrs.padToMaxOutputSize,
    ),
  ),
  suppression(tf.NonMaxSuppressionV5, (boxes, scores, attrs) =>
    tf.kernel_impls.nonMaxSuppressionV5Impl(
      boxes,
      scores,
      attrs.maxOutputSize,
      attrs.iouThreshold,
      attrs.scoreThreshold,
      attrs.softNmsSigma,
    ),
  ),
  kernel<Tensors<'x'>, tf.UniqueAttrs>(tf.Unique, (backend, { x }, { axis }) => unique(backend, x, axis)),
  kernel<Tensors<'s0' | 's1'>>(tf.BroadcastArgs, (backend, { s0, s1 }) => {
    const [a, b] = [s0, s1].map((shape) => Array.from(knownValues(backend, shape, 'broadcastArgs')));
    const shape = tf.backend_util.assertAndGetBroadcastShape(a!, b!);
    return backend.makeTensor(Int32Array.from(shape), [shape.length], 'int32');
  }),
];
