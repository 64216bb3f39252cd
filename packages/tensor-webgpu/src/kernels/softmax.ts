import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';

const threads = 8; // rows a workgroup: one row an invocation, three passes over it

/** Softmax (or its logarithm) over the last axis, [..., C]. */
function softmax(backend: WebgpuBackend, x: tf.TensorInfo, logarithm: boolean): tf.TensorInfo {
  const columns = x.shape.at(-1) ?? 1;
  const rows = tf.util.sizeFromShape(x.shape) / Math.max(1, columns);
  const vector = columns % 4 === 0;
  const groups = Math.ceil(rows / threads);
  const gridX = Math.min(groups, 32768);
  const type = vector ? 'vec4f' : 'f32';
  const across = (op: 'max' | '+', v: string) =>
    !vector
      ? v
      : op === 'max'
        ? `max(max(${v}.x, ${v}.y), max(${v}.z, ${v}.w))`
        : `(${v}.x + ${v}.y) + (${v}.z + ${v}.w)`;
  const wgsl = `struct Sizes { rows: u32, row: u32, columns: u32, unused: u32 };
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read_write> out: array<${type}>;
@group(0) @binding(2) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let r = id.x + id.y * p.row;
  if (r >= p.rows) { return; }
  let base = r * p.columns;
  var most = ${type}(-3.4028234e38);
  for (var i = 0u; i < p.columns; i++) { most = max(most, x[base + i]); }
  let top = ${across('max', 'most')};
  var sums = ${type}();
  for (var i = 0u; i < p.columns; i++) { sums += exp(x[base + i] - top); }
  let total = ${across('+', 'sums')};
  ${logarithm ? 'let shift = top + log(total);' : 'let share = 1.0 / total;'}
  for (var i = 0u; i < p.columns; i++) { out[base + i] = ${logarithm ? 'x[base + i] - shift' : 'exp(x[base + i] - top) * share'}; }
}`;
  return backend.run(
    {
      label: logarithm ? 'LogSoftmax' : 'Softmax',
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
      uniforms: new Uint32Array([rows, gridX * threads, vector ? columns / 4 : columns, 0]),
    },
    [x],
    [{ shape: x.shape, dtype: 'float32' }],
  )[0]!;
}

export const softmaxKernels: readonly Kernel[] = [
  {
    kernelName: tf.Softmax,
    kernelFunc: ({ inputs, backend }) => softmax(backend as WebgpuBackend, inputs.logits as tf.TensorInfo, false),
  },
  {
    kernelName: tf.LogSoftmax,
    kernelFunc: ({ inputs, backend }) => softmax(backend as WebgpuBackend, inputs.logits as tf.TensorInfo, true),
  },
];
