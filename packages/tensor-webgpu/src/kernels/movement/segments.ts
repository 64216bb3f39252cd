import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { runningSum } from '../rows/scan.ts';

const summing = memoised(({ wide }: { wide: boolean }) =>
  resultMap({
    label: 'UnsortedSegmentSum',
    wide: [wide, false],
    wideOutput: wide,
    uniforms: { inner: 'i32', rows: 'i32' },
    body: `let n = i % p.inner;
  let segment = i / p.inner;
  var total = Out();
  for (var r = 0; r < p.rows; r++) { if (in1[r] == segment) { total += in0[r * p.inner + n]; } }
  out[i] = total;`,
  }),
);

const summingSorted = memoised(({ wide }: { wide: boolean }) =>
  resultMap({
    label: 'UnsortedSegmentSum of sorted rows',
    wide: [wide, false, false],
    wideOutput: wide,
    uniforms: { inner: 'i32' },
    body: `let n = i % p.inner;
  let segment = i / p.inner;
  let end = in2[segment + 1];
  var total = Out();
  for (var k = in2[segment]; k < end; k++) { total += in0[in1[k] * p.inner + n]; }
  out[i] = total;`,
  }),
);

const block = 64; // rows that are counted, and placed, together
const digitBits = 4;
const digits = 1 << digitBits;

/** The digit of a row of `in0`, the segments; those outside go last. The rows come in the order of `in1` after the first pass. */
const digitOf = (ordered: boolean): string => `fn rowAt(k: i32) -> i32 { return ${ordered ? 'in1[k]' : 'k'}; }
fn digit(k: i32) -> i32 {
  let segment = in0[rowAt(k)];
  return (select(p.segments, segment, segment >= 0 && segment < p.segments) >> u32(p.shift)) & ${digits - 1};
}`;
const sortUniforms = { rows: 'i32', blocks: 'i32', segments: 'i32', shift: 'i32' } as const;

const counting = memoised(({ ordered }: { ordered: boolean }) =>
  resultMap({
    label: 'Segments counted',
    uniforms: sortUniforms,
    functions: digitOf(ordered),
    body: `let first = (i % p.blocks) * ${block};
  var count = 0;
  for (var k = first; k < min(first + ${block}, p.rows); k++) { count += select(0, 1, digit(k) == i / p.blocks); }
  out[i] = count;`,
  }),
);

const placing = memoised(({ ordered }: { ordered: boolean }) =>
  resultMap({
    label: 'Segments placed',
    uniforms: sortUniforms,
    functions: digitOf(ordered),
    body: `let own = digit(i);
  var place = in${ordered ? 2 : 1}[own * p.blocks + i / ${block}];
  for (var k = i - i % ${block}; k < i; k++) { place += select(0, 1, digit(k) == own); }
  out[place] = rowAt(i);`,
  }),
);

/** Where each segment begins among the sorted rows. */
const starting = resultMap({
  label: 'Segments begun',
  uniforms: { rows: 'i32', segments: 'i32' },
  body: `var low = 0; var high = p.rows;
  while (low < high) {
    let middle = (low + high) / 2;
    let segment = in0[in1[middle]];
    if (segment >= 0 && segment < i) { low = middle + 1; } else { high = middle; }
  }
  out[i] = low;`,
});

interface Segments {
  readonly rows: number;
  readonly segments: number;
}

/** The rows by their segments, in their order within each: a radix sort by 4 bits a pass. Rows of no segment come last. */
function sortedRows(backend: WebgpuBackend, ids: tf.TensorInfo, { rows, segments }: Segments): tf.TensorInfo {
  const blocks = Math.ceil(rows / block);
  let order: tf.TensorInfo | undefined;
  for (let shift = 0; 2 ** shift <= segments; shift += digitBits) {
    const known = order ? [ids, order] : [ids];
    const call = { uniforms: { rows, blocks, segments, shift }, dtype: 'int32' as const };
    const ordered = order !== undefined;
    const counts = counting({ ordered })(backend, { ...call, inputs: known, shape: [digits * blocks] });
    const places = runningSum(backend, counts);
    const next = placing({ ordered })(backend, { ...call, inputs: [...known, places], shape: [rows] });
    for (const used of [counts, places, order]) if (used) backend.disposeData(used.dataId);
    order = next;
  }
  return order!;
}

const manyLooks = 2 ** 20; // from here on, sorting costs less than every result's look at every row

/**
 * out[s, n] = sum of the rows x[i, n] with segmentIds[i] = s. Every result is summed by one invocation, in the order of the rows: no
 * atomics, always the same bits. Of many rows and segments the rows are sorted first.
 */
function segmentSum(
  backend: WebgpuBackend,
  { x, segmentIds }: Tensors<'x' | 'segmentIds'>,
  segments: number,
): tf.TensorInfo {
  const rows = tf.util.sizeFromShape(segmentIds.shape);
  const slice = x.shape.slice(segmentIds.shape.length);
  const inner = tf.util.sizeFromShape(slice);
  const wide = inner % 4 === 0;
  const columns = inner / (wide ? 4 : 1);
  const call = {
    shape: [segments, ...slice],
    dtype: x.dtype === 'bool' ? ('int32' as const) : x.dtype,
  };
  if (segments <= digits || rows * segments * columns < manyLooks)
    return summing({ wide })(backend, { ...call, inputs: [x, segmentIds], uniforms: { inner: columns, rows } });
  const order = sortedRows(backend, segmentIds, { rows, segments });
  const starts = starting(backend, {
    inputs: [segmentIds, order],
    shape: [segments + 1],
    dtype: 'int32',
    uniforms: { rows, segments },
  });
  const sums = summingSorted({ wide })(backend, {
    ...call,
    inputs: [x, order, starts],
    uniforms: { inner: columns },
  });
  for (const { dataId } of [order, starts]) backend.disposeData(dataId);
  return sums;
}

export const segmentKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'segmentIds'>, tf.UnsortedSegmentSumAttrs>(
    tf.UnsortedSegmentSum,
    (backend, inputs, { numSegments }) => segmentSum(backend, inputs, numSegments),
  ),
];
