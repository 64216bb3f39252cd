import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { cast } from './elementwise.ts';
import type { Kernel } from './index.ts';
import { rowMajor, stridedMap } from './strided-map.ts';

/** How to fold: WGSL of the start value and of one step from `total` and `next`. */
interface Fold {
  readonly name: string;
  readonly start: string;
  readonly step: (total: string, next: string) => string;
}

const sum: Fold = { name: 'Sum', start: '0.0', step: (total, next) => `${total} + ${next}` };
const product: Fold = { name: 'Prod', start: '1.0', step: (total, next) => `${total} * ${next}` };
const largest: Fold = { name: 'Max', start: '-3.4028234e38', step: (total, next) => `max(${total}, ${next})` };
const smallest: Fold = { name: 'Min', start: '3.4028234e38', step: (total, next) => `min(${total}, ${next})` };

const threads = 64;
const enoughOutputs = 512; // with fewer, the fold is cut into parts so that every core has work
const partLength = 1024; // and so that one float sum does not run too long

/**
 * Folds [outer, length, inner] to [outer, inner], each result by one invocation, in parts first when there are few results.
 * The order of additions depends on the shape only, so equal inputs give equal bits.
 */
export function fold(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  sizes: { outer: number; length: number; inner: number },
  how: Fold,
): tf.TensorInfo {
  const { outer, length, inner } = sizes;
  const results = outer * inner;
  let parts = 1;
  if (length > partLength || (results < enoughOutputs && length > 128)) {
    parts = Math.min(
      Math.ceil(length / 64),
      Math.max(Math.ceil(length / partLength), Math.ceil(enoughOutputs / Math.max(results, 1))),
    );
  }
  const perPart = Math.ceil(Math.ceil(length / parts) / 4) * 4;
  parts = Math.ceil(length / perPart);
  const once = foldOnce(backend, x, { ...sizes, perPart, parts }, how);
  if (parts <= 1) return once;
  const rest = fold(backend, once, { outer, length: parts, inner }, how);
  backend.disposeData(once.dataId);
  return rest;
}

function foldOnce(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  sizes: { outer: number; length: number; inner: number; perPart: number; parts: number },
  how: Fold,
): tf.TensorInfo {
  const { outer, length, inner, perPart, parts } = sizes;
  const rows = inner === 1 && length % 4 === 0; // along a row four at once
  const columns = inner % 4 === 0; // across columns four at once
  const units = (outer * parts * inner) / (columns ? 4 : 1);
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const wide = rows || columns;
  const at = (i: string) =>
    rows
      ? `(o * p.length + ${i}) / 4u`
      : columns
        ? `(o * p.length + ${i}) * p.inner / 4u + c`
        : `(o * p.length + ${i}) * p.inner + c`;
  const wgsl = `struct Sizes { units: u32, row: u32, length: u32, inner: u32, perPart: u32, parts: u32, unused0: u32, unused1: u32 };
@group(0) @binding(0) var<storage, read> x: array<${wide ? 'vec4f' : 'f32'}>;
@group(0) @binding(1) var<storage, read_write> out: array<${columns ? 'vec4f' : 'f32'}>;
@group(0) @binding(2) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let width = ${columns ? 'p.inner / 4u' : 'p.inner'};
  let c = i % width; let part = (i / width) % p.parts; let o = i / (width * p.parts);
  let first = part * p.perPart; let end = min(first + p.perPart, p.length);
  var total = ${wide ? 'vec4f' : 'f32'}(${how.start});
  for (var k = first; k < end; k += ${rows ? '4u' : '1u'}) { total = ${how.step('total', `x[${at('k')}]`)}; }
  out[i] = ${rows ? how.step(how.step('total.x', 'total.y').replace(/^/, '(').concat(')'), `(${how.step('total.z', 'total.w')})`) : 'total'};
}`;
  return backend.run(
    {
      label: `${how.name} over ${rows ? 'rows' : columns ? 'columns' : 'strides'}`,
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
      uniforms: new Uint32Array([units, gridX * threads, length, inner, perPart, parts, 0, 0]),
    },
    [x],
    [{ shape: [outer, parts, inner], dtype: 'float32' }],
  )[0]!;
}

/** Folds any axes; axes that are not neighbours are brought together by a transpose. */
function reduce(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  axis: number | number[],
  keepDims: boolean,
  how: Fold,
): tf.TensorInfo {
  const axes = tf.util.parseAxisParam(axis, x.shape).sort((a, b) => a - b);
  const [kept] = tf.backend_util.computeOutAndReduceShapes(x.shape, axes);
  const shape = keepDims ? tf.backend_util.expandShapeToKeepDim(kept, axes) : kept;
  const temporary: tf.TensorInfo[] = [];
  let source = x;
  if (x.dtype !== 'float32') {
    source = cast(backend, x, 'float32');
    temporary.push(source);
  }
  let sizes: { outer: number; length: number; inner: number };
  const separate = axes.filter((a) => x.shape[a] !== 1);
  const first = separate[0] ?? 0;
  const last = separate.at(-1) ?? -1;
  const product = (list: readonly number[]) => list.reduce((a, b) => a * b, 1);
  if (last - first + 1 === separate.length) {
    sizes = {
      outer: product(x.shape.slice(0, first)),
      length: product(x.shape.slice(first, last + 1)),
      inner: product(x.shape.slice(last + 1)),
    };
  } else {
    const order = [...x.shape.keys()].filter((d) => !axes.includes(d)).concat(axes);
    const strides = rowMajor(x.shape);
    source = stridedMap(backend, {
      label: 'Transpose',
      inputs: [{ tensor: source, strides: order.map((d) => strides[d]!) }],
      shape: order.map((d) => x.shape[d]!),
      dtype: 'float32',
      value: ([v]) => v!,
    });
    temporary.push(source);
    sizes = { outer: product(kept), length: product(axes.map((d) => x.shape[d]!)), inner: 1 };
  }
  const size = sizes.outer * sizes.inner;
  if (size > 0 && sizes.length === 0) {
    for (const t of temporary) backend.disposeData(t.dataId);
    return backend.makeTensor(new Float32Array(size).fill(Number(how.start)), shape, 'float32');
  }
  const folded = fold(backend, source, sizes, how);
  for (const t of temporary) backend.disposeData(t.dataId);
  return { ...folded, shape };
}

function reduction(kernelName: string, how: Fold, resultType: (dtype: tf.DataType) => tf.DataType): Kernel {
  return {
    kernelName,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const x = inputs.x as tf.TensorInfo;
      // Max calls its axes reductionIndices
      const { axis, reductionIndices, keepDims } = attrs as unknown as {
        axis?: number | number[];
        reductionIndices?: number[];
        keepDims: boolean;
      };
      const folded = reduce(backend as WebgpuBackend, x, reductionIndices ?? axis!, keepDims, how);
      return recast(backend as WebgpuBackend, folded, resultType(x.dtype));
    },
  };
}

function recast(backend: WebgpuBackend, folded: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (dtype === folded.dtype) return folded;
  const made = cast(backend, folded, dtype);
  backend.disposeData(folded.dataId);
  return made;
}

function argument(kernelName: string, better: '>' | '<'): Kernel {
  return {
    kernelName,
    kernelFunc: ({ inputs, attrs, backend: current }) => {
      const backend = current as WebgpuBackend;
      const x = inputs.x as tf.TensorInfo;
      const [axis] = tf.util.parseAxisParam((attrs as unknown as { axis: number }).axis, x.shape) as [number];
      const source = x.dtype === 'float32' ? x : cast(backend, x, 'float32');
      const shape = x.shape.filter((_, d) => d !== axis);
      const inner = tf.util.sizeFromShape(x.shape.slice(axis + 1));
      const units = tf.util.sizeFromShape(shape);
      const groups = Math.ceil(units / threads);
      const gridX = Math.min(groups, 32768);
      const made = backend.run(
        {
          label: kernelName,
          wgsl: `struct Sizes { units: u32, row: u32, length: u32, inner: u32 };
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;
@group(0) @binding(2) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let base = (i / p.inner) * p.length * p.inner + i % p.inner;
  var best = x[base]; var place = 0u;
  for (var k = 1u; k < p.length; k++) { let next = x[base + k * p.inner]; if (next ${better} best) { best = next; place = k; } }
  out[i] = i32(place);
}`,
          workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
          uniforms: new Uint32Array([units, gridX * threads, x.shape[axis]!, inner]),
        },
        [source],
        [{ shape, dtype: 'int32' }],
      )[0]!;
      if (source !== x) backend.disposeData(source.dataId);
      return made;
    },
  };
}

const same = (dtype: tf.DataType): tf.DataType => dtype;
const counted = (dtype: tf.DataType): tf.DataType => (dtype === 'bool' ? 'int32' : dtype);
const truth = (): tf.DataType => 'bool';

export const reduceKernels: readonly Kernel[] = [
  reduction(tf.Sum, sum, counted),
  reduction(tf.Prod, product, counted),
  reduction(tf.Max, largest, same),
  reduction(tf.Min, smallest, same),
  reduction(tf.All, smallest, truth),
  reduction(tf.Any, largest, truth),
  argument(tf.ArgMax, '>'),
  argument(tf.ArgMin, '<'),
  {
    kernelName: tf.Mean,
    kernelFunc: ({ inputs, attrs, backend: current }) => {
      const backend = current as WebgpuBackend;
      const x = inputs.x as tf.TensorInfo;
      const { axis, keepDims } = attrs as unknown as { axis: number | number[]; keepDims: boolean };
      const total = reduce(backend, x, axis, keepDims, sum);
      const count = tf.util.sizeFromShape(x.shape) / Math.max(1, tf.util.sizeFromShape(total.shape));
      const mean = stridedMap(backend, {
        label: 'Mean',
        inputs: [{ tensor: total, strides: rowMajor(total.shape) }],
        shape: total.shape,
        dtype: 'float32',
        value: ([v]) => `${v} * p.c0`,
        constants: [1 / count],
      });
      backend.disposeData(total.dataId);
      return mean;
    },
  },
];
