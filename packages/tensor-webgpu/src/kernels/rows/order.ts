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

/** Where the k largest of each two neighbouring lists are, which have `width` values in falling order, the last of a row fewer. */
const mergedPlaces = memoised(({ float }: { float: boolean }) =>
  resultMap({
    label: 'TopK merged',
    uniforms: { N: 'i32', k: 'i32', width: 'i32', M: 'i32' },
    functions: orderKey(float),
    body: `let row = i / p.N; let base = row * p.N; let own = i - base; let mine = key(in0[i]);
  let list = own / p.width;
  let second = list % 2 == 1;
  let start = (list + select(1, -1, second)) * p.width; // of the other list
  var low = start; var high = max(start, min(start + p.width, p.N));
  while (low < high) {
    let middle = (low + high) / 2;
    let other = key(in0[base + middle]);
    if (other > mine || (second && other == mine)) { low = middle + 1; } else { high = middle; }
  }
  let place = own % p.width + low - start;
  if (place < p.k) { out[row * p.M + (list / 2) * p.k + place] = own; }`,
  }),
);

const shortestPart = 256;
const fewWanted = 64;

/**
 * The k largest values of each row and where they were, in falling order, the first of equal ones first.
 *
 * Each value of a part counts those ahead of it there, which is its place; the k largest of each part go on, and equal ones stay in their
 * order. A few wanted ones are sought so until they are in one part. Of many the parts are sorted lists, which are merged two by two:
 * each value finds by bisection how many of the other list are ahead of it, O(N log N) in all.
 */
function topK(backend: WebgpuBackend, { x }: Tensors<'x'>, { k }: tf.TopKAttrs): [tf.TensorInfo, tf.TensorInfo] {
  const lead = x.shape.slice(0, -1);
  const float = x.dtype === 'float32';
  const part = k > fewWanted ? shortestPart : Math.max(shortestPart, 4 * k);
  let values = x;
  let places: tf.TensorInfo | undefined; // of `values` in x
  let length = 0; // of the lists that they are in
  for (;;) {
    const N = values.shape.at(-1)!;
    const merges = length > 0 && k > fewWanted;
    const whole = !merges && (k === 0 || N <= 2 * part); // one part
    const of = whole ? Math.max(1, N) : merges ? 2 * length : part;
    const parts = Math.floor(N / of);
    const most = Math.min(k, of); // of a part
    const width = whole ? k : parts * most + Math.min(most, N - parts * of);
    const shape = [...lead, width];
    const call = {
      ...{ inputs: [values], shape, dtype: 'int32' as const },
      units: k === 0 ? 0 : tf.util.sizeFromShape(values.shape),
    };
    const found = merges
      ? mergedPlaces({ float })(backend, { ...call, uniforms: { N, k: most, width: length, M: width } })
      : topPlaces({ float })(backend, { ...call, uniforms: { N, k: most, length: of, width } });
    const pick = (from: tf.TensorInfo) =>
      picked(backend, { inputs: [from, found], shape, dtype: from.dtype, uniforms: { N, width } });
    const best = pick(values);
    const at = places ? pick(places) : found;
    if (places) for (const { dataId } of [places, found]) backend.disposeData(dataId);
    if (values !== x) backend.disposeData(values.dataId);
    if (whole || (merges && N <= of)) return [best, at];
    values = best;
    places = at;
    length = most;
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
