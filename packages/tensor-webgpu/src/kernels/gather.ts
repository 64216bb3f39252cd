import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';

const threads = 64;

/** out[b, o, i, n] = x[b, o, indices[b, i], n] with `batchDims` leading dimensions in common. */
function gather(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  indices: tf.TensorInfo,
  { axis, batchDims }: tf.GatherV2Attrs,
): tf.TensorInfo {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  const info = tf.backend_util.segment_util.collectGatherOpShapeInfo(
    x as tf.Tensor,
    indices as tf.Tensor,
    along,
    batchDims,
  );
  const perBatch = tf.util.sizeFromShape(indices.shape) / info.batchSize;
  const vector = info.sliceSize % 4 === 0;
  const inner = vector ? info.sliceSize / 4 : info.sliceSize;
  const units = info.batchSize * info.outerSize * perBatch * inner;
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const base = x.dtype === 'float32' ? 'f32' : 'i32';
  const type = vector ? `vec4<${base}>` : base;
  const wgsl = `struct Sizes { units: u32, row: u32, inner: u32, picks: u32, outer: u32, length: u32, unused0: u32, unused1: u32 };
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<${type}>;
@group(0) @binding(3) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let n = i % p.inner; let pick = (i / p.inner) % p.picks; let o = i / (p.inner * p.picks); let b = o / p.outer;
  let at = indices[b * p.picks + pick];
  // a place outside reads 0, as TensorFlow.js does on GPUs
  if (at >= 0 && at < i32(p.length)) { out[i] = x[(o * p.length + u32(at)) * p.inner + n]; } else { out[i] = ${type}(); }
}`;
  return backend.run(
    {
      label: 'GatherV2',
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
      uniforms: new Uint32Array([units, gridX * threads, inner, perBatch, info.outerSize, info.dimSize, 0, 0]),
    },
    [x, indices],
    [{ shape: info.outputShape, dtype: x.dtype }],
  )[0]!;
}

/** out[s, n] = sum of the rows x[i, n] with segmentIds[i] = s. Every result is summed by one invocation: no atomics. */
function segmentSum(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  segmentIds: tf.TensorInfo,
  segments: number,
): tf.TensorInfo {
  const rows = segmentIds.shape[0]!;
  const inner = tf.util.sizeFromShape(x.shape) / Math.max(1, rows);
  const units = segments * inner;
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const wgsl = `struct Sizes { units: u32, row: u32, inner: u32, rows: u32 };
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let n = i % p.inner; let segment = i32(i / p.inner);
  var total = 0.0;
  for (var r = 0u; r < p.rows; r++) { if (ids[r] == segment) { total += x[r * p.inner + n]; } }
  out[i] = total;
}`;
  return backend.run(
    {
      label: 'UnsortedSegmentSum',
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
      uniforms: new Uint32Array([units, gridX * threads, inner, rows]),
    },
    [x, segmentIds],
    [{ shape: [segments, ...x.shape.slice(1)], dtype: 'float32' }],
  )[0]!;
}

export const gatherKernels: readonly Kernel[] = [
  {
    kernelName: tf.GatherV2,
    kernelFunc: ({ inputs, attrs, backend }) =>
      gather(
        backend as WebgpuBackend,
        inputs.x as tf.TensorInfo,
        inputs.indices as tf.TensorInfo,
        attrs as unknown as tf.GatherV2Attrs,
      ),
  },
  {
    kernelName: tf.UnsortedSegmentSum,
    kernelFunc: ({ inputs, attrs, backend }) =>
      segmentSum(
        backend as WebgpuBackend,
        inputs.x as tf.TensorInfo,
        inputs.segmentIds as tf.TensorInfo,
        (attrs as unknown as tf.UnsortedSegmentSumAttrs).numSegments,
      ),
  },
  {
    kernelName: tf.Range,
    kernelFunc: ({ attrs, backend }) => {
      const { start, stop, step, dtype } = attrs as unknown as tf.RangeAttrs;
      const count = Math.max(0, Math.ceil((stop - start) / step));
      const values = Array.from({ length: count }, (_, i) => start + i * step);
      const typed = dtype === 'int32' ? Int32Array.from(values) : Float32Array.from(values);
      return (backend as WebgpuBackend).makeTensor(typed, [count], dtype ?? 'float32');
    },
  },
];
