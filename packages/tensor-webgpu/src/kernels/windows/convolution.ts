import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { binary } from '../elementwise/elementwise.ts';
import { resultMap } from '../maps/result-map.ts';
import { placesOf, type Windows, windowIntegers, windowMap, windowUniforms } from '../maps/window-map.ts';
import { matmul } from '../matmul/matmul.ts';
import { concat } from '../movement/concat.ts';

/** A convolution of x [B, ..., I] with a filter [..., I, O] to [B, ..., O], channels last. */
export interface Convolution {
  readonly windows: Windows;
  readonly I: number;
  readonly O: number;
}

/** Taps `first` to `first + count` of the filter. */
interface Taps {
  readonly first: number;
  readonly count: number;
}

const placesAndTaps = ({ windows, I }: Convolution) => {
  const places = windows.B * placesOf(windows.outputs);
  return { places, taps: placesOf(windows.filter), tapBytes: places * I * 4 };
};

/** Groups of taps whose columns [places, taps, I] each stay within what the adapter binds. */
function tapGroups(backend: WebgpuBackend, convolution: Convolution): Taps[] {
  const { taps, tapBytes } = placesAndTaps(convolution);
  const most = Math.max(1, Math.floor(backend.facts.maxBindingBytes / Math.max(1, tapBytes)));
  const groups = Math.ceil(taps / most);
  const count = Math.ceil(taps / groups);
  return Array.from({ length: groups }, (_, k) => ({ first: k * count, count: Math.min(count, taps - k * count) }));
}

/** Whether the columns are x itself: a 1 x 1 filter without stride and padding. */
const isPointwise = ({ windows }: Convolution): boolean =>
  placesOf(windows.filter) === 1 &&
  windows.stride.every((stride) => stride === 1) &&
  windows.inputs.every((extent, d) => extent === windows.outputs[d]) &&
  windows.before.every((before) => before === 0);

const unfolding = memoised(({ wide }: { wide: boolean }) => {
  const side = (axis: string) => `o${axis} * p.stride${axis} - p.before${axis} + t${axis} * p.dilation${axis}`;
  const inside = (axis: string) => `i${axis} >= 0 && i${axis} < p.inputs${axis}`;
  return resultMap<string>({
    label: 'Unfold',
    wide: [wide],
    wideOutput: wide,
    uniforms: { ...windowUniforms, channels: 'i32', first: 'i32', count: 'i32' },
    body: `let place = i / p.count; let tap = p.first + i - place * p.count;
  let oX = place % p.outputsX; let rows = place / p.outputsX; let oY = rows % p.outputsY;
  let oZ = (rows / p.outputsY) % p.outputsZ; let b = rows / (p.outputsY * p.outputsZ);
  let tX = tap % p.filterX; let tY = (tap / p.filterX) % p.filterY; let tZ = tap / (p.filterX * p.filterY);
  let iX = ${side('X')}; let iY = ${side('Y')}; let iZ = ${side('Z')};
  let to = i * p.channels;
  if (${['Z', 'Y', 'X'].map(inside).join(' && ')}) {
    let start = (((b * p.inputsZ + iZ) * p.inputsY + iY) * p.inputsX + iX) * p.channels;
    for (var c = 0; c < p.channels; c++) { out[to + c] = in0[start + c]; }
  } else {
    for (var c = 0; c < p.channels; c++) { out[to + c] = Out(); }
  }`,
  });
});

/** x [B, ..., I] to columns [places, taps, I]: what each tap of the filter reads at each output place, 0 outside. */
function unfold(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  convolution: Convolution,
  { first, count }: Taps,
): tf.TensorInfo {
  const { windows, I } = convolution;
  const { places } = placesAndTaps(convolution);
  if (isPointwise(convolution)) return backend.makeView(x, [places, I]);
  const wide = I % 4 === 0;
  return unfolding({ wide })(backend, {
    inputs: [x],
    shape: [places, count * I],
    dtype: 'float32',
    units: places * count, // an invocation copies all channels
    uniforms: { ...windowIntegers(windows), channels: I / (wide ? 4 : 1), first, count },
  });
}

const folding = memoised(({ wide }: { wide: boolean }) =>
  windowMap({
    label: 'Fold',
    per: 'input',
    wide: { inputs: [wide], output: wide },
    uniforms: { first: 'i32', count: 'i32' },
    before: 'var total = Out();',
    step: `let slot = tap - p.first;
    if (slot >= 0 && slot < p.count) { total += in0[(outAt * p.count + slot) * p.channels + c]; }`,
    after: 'out[i] = total;',
  }),
);

/** Columns [places, taps, I] to [B, ..., I], adding what falls on the same input place: the transpose of `unfold`. */
const fold = (
  backend: WebgpuBackend,
  columns: tf.TensorInfo,
  { windows, I }: Convolution,
  { first, count }: Taps,
): tf.TensorInfo =>
  folding({ wide: I % 4 === 0 })(backend, {
    windows,
    inputs: [columns],
    channels: I,
    shape: [windows.B, ...windows.inputs, I],
    dtype: 'float32',
    uniforms: { first, count },
  });

const tapsOf = resultMap({ label: 'Taps', uniforms: { start: 'i32' }, body: 'out[i] = in0[p.start + i];' });

/** Rows of a filter [taps, I, O] as a matrix [taps I, O]. */
function filterRows(
  backend: WebgpuBackend,
  filter: tf.TensorInfo,
  { I, O }: Convolution,
  { first, count }: Taps,
): tf.TensorInfo {
  const rows = filter.shape.reduce((product, extent) => product * extent, 1) / Math.max(1, O);
  if (count * I === rows) return backend.makeView(filter, [rows, O]);
  const shape = [count * I, O];
  return tapsOf(backend, { inputs: [filter], shape, dtype: 'float32', uniforms: { start: first * I * O } });
}

const add = binary({ label: tf.Add, value: (a, b) => `${a} + ${b}` });

const sum = (backend: WebgpuBackend, parts: readonly tf.TensorInfo[]): tf.TensorInfo =>
  parts.reduce((total, part) => {
    const next = add(backend, total, part);
    backend.disposeData(total.dataId);
    backend.disposeData(part.dataId);
    return next;
  });

/** y = x * filter, as [places, taps I] x [taps I, O] for each group of taps; `bias` [O] is added by the same matmul. */
export function convolve(
  backend: WebgpuBackend,
  { x, filter, bias }: { x: tf.TensorInfo; filter: tf.TensorInfo; bias?: tf.TensorInfo | undefined },
  convolution: Convolution,
): tf.TensorInfo {
  const groups = tapGroups(backend, convolution);
  return sum(
    backend,
    groups.map((taps, k) => {
      const columns = unfold(backend, x, convolution, taps);
      const rows = filterRows(backend, filter, convolution, taps);
      const part = matmul(backend, columns, rows, k === 0 && bias ? { bias } : {});
      for (const used of [columns, rows]) backend.disposeData(used.dataId);
      return part;
    }),
  );
}

/** The gradient for the input: columns = dy filter^T, folded back. */
export function convolveToInput(
  backend: WebgpuBackend,
  { dy, filter }: { dy: tf.TensorInfo; filter: tf.TensorInfo },
  convolution: Convolution,
): tf.TensorInfo {
  const { places } = placesAndTaps(convolution);
  return sum(
    backend,
    tapGroups(backend, convolution).map((taps) => {
      const rows = filterRows(backend, filter, convolution, taps);
      const columns = matmul(backend, { ...dy, shape: [places, convolution.O] }, rows, { transposeB: true });
      backend.disposeData(rows.dataId);
      if (isPointwise(convolution)) return columns;
      const folded = fold(backend, columns, convolution, taps);
      backend.disposeData(columns.dataId);
      return folded;
    }),
  );
}

/** The gradient for the filter, [taps I, O]: columns^T dy. */
export function convolveToFilter(
  backend: WebgpuBackend,
  { x, dy }: { x: tf.TensorInfo; dy: tf.TensorInfo },
  convolution: Convolution,
): tf.TensorInfo {
  const { places } = placesAndTaps(convolution);
  const parts = tapGroups(backend, convolution).map((taps) => {
    const columns = unfold(backend, x, convolution, taps);
    const part = matmul(backend, columns, { ...dy, shape: [places, convolution.O] }, { transposeA: true });
    backend.disposeData(columns.dataId);
    return part;
  });
  if (parts.length === 1) return parts[0]!;
  const whole = concat(backend, parts, 0);
  for (const part of parts) backend.disposeData(part.dataId);
  return whole;
}
