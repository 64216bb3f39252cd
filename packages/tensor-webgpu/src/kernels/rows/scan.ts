import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { enoughOutputs } from './reduce.ts';

/** [outer, length, inner] of a tensor about one axis. */
interface AboutAxis {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

function aboutAxis(x: tf.TensorInfo, axis: number): AboutAxis & { along: number } {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  const sizes = [x.shape.slice(0, along), x.shape.slice(along + 1)].map((part) => tf.util.sizeFromShape(part));
  return { along, outer: sizes[0]!, length: x.shape[along] ?? 1, inner: sizes[1]! };
}

const shortest = 32; // of the parts of a row

/** How many values of each row one invocation takes: all of them where rows enough keep every core busy, or they are short. */
function perPartOf(backend: WebgpuBackend, { outer, length, inner }: AboutAxis): number {
  const { isCpu } = backend.facts;
  const enough = enoughOutputs[isCpu ? 'cpu' : 'gpu'];
  const small = isCpu && outer * length * inner < 2 ** 16; // one more dispatch costs more than a core takes for it
  if (small || length <= 4 * shortest || outer * inner >= enough) return Math.max(1, length);
  return Math.max(shortest, Math.ceil((length * outer * inner) / enough));
}

/** Invocations of a workgroup: a CPU spreads long loops better over many small ones. */
const perGroupOf = ({ facts: { isCpu } }: WebgpuBackend): number => (isCpu ? 8 : threads);

/** WGSL: invocation `i` takes values `first` to `end` of a row, `inner` apart from `base` on. */
const ownPart = `let n = i % p.inner;
  let part = (i / p.inner) % p.parts;
  let base = (i / (p.inner * p.parts)) * p.length * p.inner + n;
  let first = part * p.perPart;
  let end = min(first + p.perPart, p.length);`;
const partUniforms = { length: 'i32', inner: 'i32', perPart: 'i32', parts: 'i32' } as const;

interface RunningHow {
  readonly exclusive: boolean;
  readonly reverse: boolean;
}
type Running = (backend: WebgpuBackend, x: tf.TensorInfo, about: AboutAxis, how: RunningHow) => tf.TensorInfo;

/**
 * Running sums or products along an axis, without the value itself (exclusive) or from the end (reverse). Long rows go in parts: their
 * totals, the running totals of those, and each part from what lies before it.
 */
function running({ label, start, sign }: { label: string; start: 0 | 1; sign: '+' | '*' }): Running {
  const totals = memoised(({ perGroup }: { perGroup: number }) =>
    resultMap({
      label: `${label} of parts`,
      uniforms: partUniforms,
      perGroup,
      body: `${ownPart}
  var total = Out(${start});
  for (var k = first; k < end; k++) { total = total ${sign} Out(in0[base + k * p.inner]); }
  out[i] = total;`,
    }),
  );
  const rows = memoised(({ perGroup, goesOn }: { perGroup: number; goesOn: boolean }) =>
    resultMap({
      label,
      uniforms: { ...partUniforms, exclusive: 'i32', reverse: 'i32' },
      perGroup,
      body: `${ownPart}
  var total = ${goesOn ? 'in1[i]' : `Out(${start})`};
  for (var k = first; k < end; k++) {
    let at = base + select(k, first + end - 1 - k, p.reverse == 1) * p.inner;
    let next = total ${sign} Out(in0[at]);
    out[at] = select(next, total, p.exclusive == 1);
    total = next;
  }`,
    }),
  );
  const run: Running = (backend, x, about, { exclusive, reverse }) => {
    const { outer, length, inner } = about;
    const perPart = perPartOf(backend, about);
    const parts = Math.ceil(length / perPart);
    const perGroup = perGroupOf(backend);
    const uniforms = { length, inner, perPart, parts };
    const dtype = tf.upcastType(x.dtype, 'int32');
    const shape = [outer, parts, inner];
    const before: tf.TensorInfo[] = [];
    if (parts > 1) {
      const sums = totals({ perGroup })(backend, { inputs: [x], shape, dtype, uniforms });
      before.push(run(backend, sums, { outer, length: parts, inner }, { exclusive: true, reverse }));
      backend.disposeData(sums.dataId);
    }
    const made = rows({ perGroup, goesOn: parts > 1 })(backend, {
      ...{ inputs: [x, ...before], shape: x.shape, dtype, units: outer * parts * inner },
      uniforms: { ...uniforms, exclusive: exclusive ? 1 : 0, reverse: reverse ? 1 : 0 },
    });
    for (const { dataId } of before) backend.disposeData(dataId);
    return made;
  };
  return run;
}

const sums = running({ label: tf.Cumsum, start: 0, sign: '+' });
const products = running({ label: tf.Cumprod, start: 1, sign: '*' });

/** The sum of what lies before each value of a vector. */
export const runningSum = (backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo =>
  sums(backend, x, { outer: 1, length: x.shape[0]!, inner: 1 }, { exclusive: true, reverse: false });

const runningKernel = (label: string, run: Running): Kernel =>
  kernel<Tensors<'x'>, tf.CumsumAttrs>(label, (backend, { x }, { axis, exclusive, reverse }) =>
    run(backend, x, aboutAxis(x, axis), { exclusive, reverse }),
  );

interface ArgumentText {
  readonly perGroup: number;
  readonly float: boolean;
  /** Places of candidates are given, else every value is one. */
  readonly chosen: boolean;
}

/**
 * Where the largest or smallest value lies along an axis; the first of equal ones. Of a long row in n parts invocation i takes values i,
 * i + n, i + 2 n, …, and the places found go on as candidates. NaN is passed over but at the start of a row, as by TensorFlow.js.
 */
function argument(label: string, better: '>' | '<'): Kernel {
  const map = memoised(({ perGroup, float, chosen }: ArgumentText) => {
    const candidate = (k: string) => (chosen ? `in1[(o * p.count + ${k}) * p.inner + n]` : k);
    const unknown = (x: string) => (float ? `(bitcast<u32>(${x}) & 0x7fffffffu) > 0x7f800000u` : 'false');
    return resultMap({
      label,
      uniforms: { length: 'i32', inner: 'i32', count: 'i32', parts: 'i32' },
      perGroup,
      body: `let n = i % p.inner;
  let part = (i / p.inner) % p.parts;
  let o = i / (p.inner * p.parts);
  let base = o * p.length * p.inner + n;
  var place = ${candidate('part')};
  var best = in0[base + place * p.inner];
  for (var k = part + p.parts; k < p.count; k += p.parts) {
    let other = ${candidate('k')};
    let next = in0[base + other * p.inner];
    if (next ${better} best || ${unknown('best')}${chosen ? ' || (next == best && other < place)' : ''}) {
      best = next;
      place = other;
    }
  }
  if (p.parts == 1 && ${unknown('in0[base]')}) { place = 0; }
  out[i] = place;`,
    });
  });
  return kernel<Tensors<'x'>, tf.ArgMaxAttrs>(label, (backend, { x }, { axis }) => {
    const { along, ...about } = aboutAxis(x, axis);
    const { outer, length, inner } = about;
    const perGroup = perGroupOf(backend);
    const float = x.dtype === 'float32';
    let places: tf.TensorInfo | undefined;
    for (let count = length; ; ) {
      const parts = Math.ceil(count / perPartOf(backend, { outer, length: count, inner }));
      const last = parts <= 1;
      const next = map({ perGroup, float, chosen: places !== undefined })(backend, {
        inputs: places ? [x, places] : [x],
        shape: last ? x.shape.filter((_, d) => d !== along) : [outer, parts, inner],
        dtype: 'int32',
        uniforms: { length, inner, count, parts: Math.max(1, parts) },
      });
      if (places) backend.disposeData(places.dataId);
      if (last) return next;
      places = next;
      count = parts;
    }
  });
}

export const scanKernels: readonly Kernel[] = [
  runningKernel(tf.Cumsum, sums),
  runningKernel(tf.Cumprod, products),
  argument(tf.ArgMax, '>'),
  argument(tf.ArgMin, '<'),
];
