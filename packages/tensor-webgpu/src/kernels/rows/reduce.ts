import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import type { Program } from '../../program/program.ts';
import { fewKnown, wholeArithmetic } from '../cpu/whole-numbers.ts';
import { casting, unary } from '../elementwise/elementwise.ts';
import { keptNan } from '../elementwise/elementwise.wgsl.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { transpose } from '../movement/movement.ts';
import { type Fold, type FoldSpec, foldPrograms } from './reduce.wgsl.ts';

/** A way to fold, with its programs. */
interface Folding {
  readonly program: (spec: FoldSpec) => Program;
  /** The same of whole numbers, and where it begins. */
  readonly whole: (total: number, next: number) => number;
  readonly start: number;
}
const folding = (how: Fold, kernelName: string): Folding => ({
  program: foldPrograms(how),
  whole: wholeArithmetic[kernelName]!,
  start: how.int,
});

// NaN stays NaN by its bits, whatever a compiler makes of the comparison
const extreme = (better: 'max' | 'min', float: number, int: number): Fold => ({
  name: better === 'max' ? 'Max' : 'Min',
  float,
  int,
  step: (total, next, types) => keptNan(total, types, keptNan(next, types, `${better}(${total}, ${next})`)),
});
const largestOf = extreme('max', Number.NEGATIVE_INFINITY, -(2 ** 31));
const smallestOf = extreme('min', Number.POSITIVE_INFINITY, 2 ** 31 - 1);

const adding = folding({ name: 'Sum', float: 0, int: 0, step: (total, next) => `${total} + ${next}` }, tf.Add);
const product = folding({ name: 'Prod', float: 1, int: 1, step: (total, next) => `${total} * ${next}` }, tf.Multiply);
const largest = folding(largestOf, tf.Maximum);
const smallest = folding(smallestOf, tf.Minimum);
const every = folding({ ...smallestOf, int: 1 }, tf.Minimum);
const some = folding({ ...largestOf, int: 0 }, tf.Maximum);

/** With fewer results the fold is cut into parts, so that every core has work; a large GPU has some 40,000 invocations at once. */
export const enoughOutputs = { cpu: 512, gpu: 49_152 };
const partLength = 1024; // and so that one float sum does not run too long

interface Sizes {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/**
 * Folds [outer, length, inner] to [outer, inner], each result by one invocation, in parts first when there are few results.
 * The order of additions depends on the shape only, so equal inputs give equal bits.
 */
function fold(backend: WebgpuBackend, x: tf.TensorInfo, sizes: Sizes, how: Folding): tf.TensorInfo {
  const { outer, length, inner } = sizes;
  const results = outer * inner;
  const [known] = fewKnown(backend, [x], { size: results, dtype: x.dtype }) ?? [];
  if (known) {
    const folded = Int32Array.from({ length: results }, (_, i) => {
      let total = how.start;
      const first = Math.floor(i / inner) * length * inner + (i % inner);
      for (let k = 0; k < length; k++) total = how.whole(total, known[first + k * inner]!) | 0;
      return total;
    });
    return backend.makeTensor(folded, [outer, inner], x.dtype);
  }
  let parts = 1;
  const enough = enoughOutputs[backend.facts.isCpu ? 'cpu' : 'gpu'];
  if (length > partLength || (results < enough && length > 128)) {
    parts = Math.min(
      Math.ceil(length / 64),
      Math.max(Math.ceil(length / partLength), Math.ceil(enough / Math.max(results, 1))),
    );
  }
  const perPart = Math.max(4, Math.ceil(Math.ceil(length / parts) / 4) * 4);
  parts = Math.max(1, Math.ceil(length / perPart));
  const isFloat = x.dtype === 'float32';
  const program = how.program({ ...sizes, perPart, parts, isFloat });
  const once = backend.run(program, [x], [{ shape: [outer, parts, inner], dtype: x.dtype }])[0]!;
  if (parts === 1) return once;
  const rest = fold(backend, once, { outer, length: parts, inner }, how);
  backend.disposeData(once.dataId);
  return rest;
}

/** [parts, ...] to [...], adding. */
export function addParts(backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo {
  const [length, ...shape] = x.shape as [number, ...number[]];
  return { ...fold(backend, x, { outer: 1, length, inner: sizeOf(shape) }, adding), shape };
}

const sizeOf = (shape: readonly number[]): number => tf.util.sizeFromShape([...shape]);

/** Folds any axes; axes that are not neighbours are brought together by a transpose. */
function reduce(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  { axis, keepDims }: { axis: number | number[]; keepDims: boolean },
  how: Folding,
): tf.TensorInfo {
  const axes = tf.util.parseAxisParam(axis, x.shape).sort((a, b) => a - b);
  const [kept] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
  const shape = keepDims ? tf.backend_util.expandShapeToKeepDim(kept, axes) : kept;
  const separate = axes.filter((a) => x.shape[a] !== 1);
  const first = separate[0] ?? 0;
  const last = separate.at(-1) ?? -1;
  if (last - first + 1 === separate.length) {
    const sizes = {
      outer: sizeOf(x.shape.slice(0, first)),
      length: sizeOf(x.shape.slice(first, last + 1)),
      inner: sizeOf(x.shape.slice(last + 1)),
    };
    return { ...fold(backend, x, sizes, how), shape };
  }
  const order = [...x.shape.keys()].filter((d) => !axes.includes(d)).concat(axes);
  const together = transpose(backend, x, order);
  const sizes = { outer: sizeOf(kept), length: sizeOf(axes.map((d) => x.shape[d]!)), inner: 1 };
  const folded = fold(backend, together, sizes, how);
  backend.disposeData(together.dataId);
  return { ...folded, shape };
}

/** The sum over some axes, which are dropped. */
export const sum = (backend: WebgpuBackend, x: tf.TensorInfo, axes: number[]): tf.TensorInfo =>
  reduce(backend, x, { axis: axes, keepDims: false }, adding);

interface ReduceAttrs {
  readonly axis?: number | number[];
  /** what Max calls its axes */
  readonly reductionIndices?: number | number[];
  readonly keepDims?: boolean;
}

const reduction = (kernelName: string, how: Folding, resultType?: (dtype: tf.DataType) => tf.DataType): Kernel =>
  kernel<Tensors<'x'>, ReduceAttrs>(kernelName, (backend, { x }, { axis, reductionIndices, keepDims = false }) =>
    casting(backend, x, resultType?.(x.dtype) ?? x.dtype, (source) =>
      reduce(backend, source, { axis: reductionIndices ?? axis!, keepDims }, how),
    ),
  );

const counted = (dtype: tf.DataType): tf.DataType => (dtype === 'bool' ? 'int32' : dtype);

const divided = unary({ label: 'Mean', value: (v) => `${v} / p.c0`, constants: 1 });

function mean(backend: WebgpuBackend, { x }: Tensors<'x'>, attrs: ReduceAttrs): tf.TensorInfo {
  return casting(backend, x, 'float32', (source) => {
    const total = reduce(backend, source, { axis: attrs.axis!, keepDims: attrs.keepDims ?? false }, adding);
    const count = tf.util.sizeFromShape(x.shape) / Math.max(1, tf.util.sizeFromShape(total.shape));
    const made = divided(backend, total, [count]);
    backend.disposeData(total.dataId);
    return made;
  });
}

export const reduceKernels: readonly Kernel[] = [
  reduction(tf.Sum, adding, counted),
  reduction(tf.Prod, product, counted),
  reduction(tf.Max, largest),
  reduction(tf.Min, smallest),
  reduction(tf.All, every),
  reduction(tf.Any, some),
  kernel(tf.Mean, mean),
];
