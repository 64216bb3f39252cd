import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { casting } from '../elementwise/elementwise.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
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

/** Where the k largest of each part of `length` values are, part by part: `width` places in each row of N. */
const topPlaces = memoised(({ float }: { float: boolean }) =>
  resultMap({
    label: 'TopK places',
    uniforms: { N: 'i32', k: 'i32', length: 'i32', width: 'i32' },
    functions: orderKey(float),
    body: `let row = i / p.N; let base = row * p.N; let own = i - base; let mine = key(in0[i]);
  let part = own / p.length; let start = part * p.length; let end = min(start + p.length, p.N);
  var ahead = 0;
  for (var j = start; j < end; j++) {
    let other = key(in0[base + j]);
    ahead += select(0, 1, other > mine || (other == mine && j < own));
  }
  if (ahead < p.k) { out[row * p.width + part * p.k + ahead] = own; }`,
  }),
);

const picked = resultMap({
  label: 'TopK values',
  uniforms: { N: 'i32', width: 'i32' },
  body: 'out[i] = in0[(i / p.width) * p.N + in1[i]];',
});

const shortestPart = 256;

/**
 * The k largest values of each row and where they were, in falling order, the first of equal ones first. Each value counts those ahead of
 * it, which is its place: N^2 comparisons of a row of N, all at once. Of long rows the k largest of each part go on first, a quarter of
 * all at most, until they are few: equal ones stay in their order.
 */
function topK(backend: WebgpuBackend, { x }: Tensors<'x'>, { k }: tf.TopKAttrs): [tf.TensorInfo, tf.TensorInfo] {
  const lead = x.shape.slice(0, -1);
  const longest = Math.max(shortestPart, 4 * k);
  let values = x;
  let places: tf.TensorInfo | undefined; // of `values` in x
  for (;;) {
    const N = values.shape.at(-1)!;
    const last = k === 0 || N <= 2 * longest;
    const length = last ? Math.max(1, N) : longest;
    const parts = Math.floor(N / length);
    const width = last ? k : parts * k + Math.min(k, N - parts * length);
    const shape = [...lead, width];
    const found = topPlaces({ float: x.dtype === 'float32' })(backend, {
      inputs: [values],
      shape,
      dtype: 'int32',
      units: k === 0 ? 0 : tf.util.sizeFromShape(values.shape),
      uniforms: { N, k, length, width },
    });
    const pick = (from: tf.TensorInfo) =>
      picked(backend, { inputs: [from, found], shape, dtype: from.dtype, uniforms: { N, width } });
    const best = pick(values);
    const at = places ? pick(places) : found;
    if (places) for (const { dataId } of [places, found]) backend.disposeData(dataId);
    if (values !== x) backend.disposeData(values.dataId);
    if (last) return [best, at];
    values = best;
    places = at;
  }
}

const searching = memoised(({ side }: { side: 'left' | 'right' }) =>
  resultMap({
    label: `SearchSorted ${side}`,
    uniforms: { N: 'i32', M: 'i32' },
    body: `let base = (i / p.M) * p.N; let v = in1[i];
  var low = 0; var high = p.N;
  while (low < high) {
    let middle = (low + high) / 2;
    if (in0[base + middle] ${side === 'left' ? '<' : '<='} v) { low = middle + 1; } else { high = middle; }
  }
  out[i] = low;`,
  }),
);

/** Where each value [B, M] belongs in its ascending row [B, N]: before (left) or behind (right) equal ones. */
const searchSorted = (
  backend: WebgpuBackend,
  { sortedSequence, values }: Tensors<'sortedSequence' | 'values'>,
  { side }: tf.SearchSortedAttrs,
): tf.TensorInfo =>
  searching({ side })(backend, {
    inputs: [sortedSequence, values],
    shape: values.shape,
    dtype: 'int32',
    uniforms: { N: sortedSequence.shape[1]!, M: values.shape[1]! },
  });

const drawing = resultMap({
  label: 'Multinomial',
  uniforms: { samples: 'i32', events: 'i32', seed0: 'i32', seed1: 'i32' },
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

/** Draws events [B, samples] by their probabilities [B, events], with random numbers hashed from the seed and the sample's number. */
function draw(
  backend: WebgpuBackend,
  probabilities: tf.TensorInfo,
  { numSamples, seed }: { numSamples: number; seed: number },
): tf.TensorInfo {
  const [B, events] = probabilities.shape as [number, number];
  const bits = new Int32Array(Float64Array.of(seed).buffer);
  return drawing(backend, {
    inputs: [probabilities],
    shape: [B, numSamples],
    dtype: 'int32',
    uniforms: { samples: numSamples, events, seed0: bits[0]!, seed1: bits[1]! },
  });
}

export const orderKernels: readonly Kernel[] = [
  kernel(tf.TopK, topK),
  kernel(tf.SearchSorted, searchSorted),
  kernel<Tensors<'logits'>, tf.MultinomialAttrs>(tf.Multinomial, (backend, inputs, { normalized, ...how }) =>
    casting(backend, inputs.logits, 'float32', (logits) => {
      if (normalized) return draw(backend, logits, how);
      const probabilities = softmax(backend, logits);
      const drawn = draw(backend, probabilities, how);
      backend.disposeData(probabilities.dataId);
      return drawn;
    }),
  ),
];
