import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { casting } from './elementwise.ts';
import type { Kernel } from './index.ts';
import { resultMap } from './result-map.ts';
import { softmax } from './softmax.ts';

/** WGSL: a number that orders values as they are; NaN above infinity. */
const orderKey = (isFloat: boolean): string =>
  isFloat
    ? `fn key(v: f32) -> u32 {
  if (v == 0.0) { return 0x80000000u; } // both zeros are equal
  let bits = bitcast<u32>(v);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u && (bits & 0x7fffffffu) <= 0x7f800000u);
}`
    : 'fn key(v: i32) -> u32 { return bitcast<u32>(v) ^ 0x80000000u; }';

/**
 * The k largest values of each row and where they were, in falling order, the first of equal ones first. Each value counts those ahead of
 * it, which is its place: N^2 comparisons of a row of N, all at once.
 */
function topK(backend: WebgpuBackend, x: tf.TensorInfo, k: number): [tf.TensorInfo, tf.TensorInfo] {
  const N = x.shape.at(-1)!;
  const shape = [...x.shape.slice(0, -1), k];
  const indices = resultMap(backend, {
    label: 'TopK places',
    inputs: [x],
    output: { shape, dtype: 'int32' },
    units: k === 0 ? 0 : tf.util.sizeFromShape(x.shape),
    integers: { N, k },
    functions: orderKey(x.dtype === 'float32'),
    body: `let row = i / p.N; let base = row * p.N; let own = i - base; let mine = key(in0[i]);
  var ahead = 0;
  for (var j = 0; j < p.N; j++) {
    let other = key(in0[base + j]);
    ahead += select(0, 1, other > mine || (other == mine && j < own));
  }
  if (ahead < p.k) { out[row * p.k + ahead] = own; }`,
  });
  const values = resultMap(backend, {
    label: 'TopK values',
    inputs: [x, indices],
    output: { shape, dtype: x.dtype },
    integers: { N, k },
    body: 'out[i] = in0[(i / p.k) * p.N + in1[i]];',
  });
  return [values, indices];
}

/** Where each value [B, M] belongs in its ascending row [B, N]: before (left) or behind (right) equal ones. */
function searchSorted(
  backend: WebgpuBackend,
  { sortedSequence, values }: Record<'sortedSequence' | 'values', tf.TensorInfo>,
  side: 'left' | 'right',
): tf.TensorInfo {
  return resultMap(backend, {
    label: `SearchSorted ${side}`,
    inputs: [sortedSequence, values],
    output: { shape: values.shape, dtype: 'int32' },
    integers: { N: sortedSequence.shape[1]!, M: values.shape[1]! },
    body: `let base = (i / p.M) * p.N; let v = in1[i];
  var low = 0; var high = p.N;
  while (low < high) {
    let middle = (low + high) / 2;
    if (in0[base + middle] ${side === 'left' ? '<' : '<='} v) { low = middle + 1; } else { high = middle; }
  }
  out[i] = low;`,
  });
}

/** Draws events [B, samples] by their probabilities [B, events], with random numbers hashed from the seed and the sample's number. */
function draw(
  backend: WebgpuBackend,
  probabilities: tf.TensorInfo,
  { numSamples, seed }: { numSamples: number; seed: number },
): tf.TensorInfo {
  const [B, events] = probabilities.shape as [number, number];
  const bits = new Int32Array(Float64Array.of(seed).buffer);
  return resultMap(backend, {
    label: 'Multinomial',
    inputs: [probabilities],
    output: { shape: [B, numSamples], dtype: 'int32' },
    integers: { samples: numSamples, events, seed0: bits[0]!, seed1: bits[1]! },
    functions: `fn mix(v: u32) -> u32 { // the output permutation of PCG
  let state = v * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}`,
    body: `let base = (i / p.samples) * p.events;
  let bits = mix(mix(mix(u32(p.seed0)) ^ u32(p.seed1)) ^ u32(i));
  let drawn = f32(bits >> 8u) / 16777216.0;
  var sum = 0.0; var event = 0;
  loop {
    sum += in0[base + event];
    if (drawn < sum || event >= p.events - 1) { break; }
    event++;
  }
  out[i] = event;`,
  });
}

export const orderKernels: readonly Kernel[] = [
  {
    kernelName: tf.TopK,
    kernelFunc: ({ inputs, attrs, backend }) =>
      topK(backend as WebgpuBackend, inputs.x as tf.TensorInfo, (attrs as unknown as tf.TopKAttrs).k),
  },
  {
    kernelName: tf.SearchSorted,
    kernelFunc: ({ inputs, attrs, backend }) =>
      searchSorted(
        backend as WebgpuBackend,
        inputs as Record<'sortedSequence' | 'values', tf.TensorInfo>,
        (attrs as unknown as tf.SearchSortedAttrs).side,
      ),
  },
  {
    kernelName: tf.Multinomial,
    kernelFunc: ({ inputs, attrs, backend: current }) => {
      const backend = current as WebgpuBackend;
      const { normalized, ...how } = attrs as unknown as tf.MultinomialAttrs;
      return casting(backend, inputs.logits as tf.TensorInfo, 'float32', (logits) => {
        if (normalized) return draw(backend, logits, how);
        const probabilities = softmax(backend, logits);
        const drawn = draw(backend, probabilities, how);
        backend.disposeData(probabilities.dataId);
        return drawn;
      });
    },
  },
];
