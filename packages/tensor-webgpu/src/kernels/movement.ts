import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';

type Attrs = Record<string, unknown>;

const kernel = (
  kernelName: string,
  run: (backend: WebgpuBackend, x: tf.TensorInfo, attrs: Attrs) => tf.TensorInfo,
  input = 'x',
): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) =>
    run(backend as WebgpuBackend, inputs[input] as tf.TensorInfo, (attrs ?? {}) as Attrs),
});

/** Reads `x` with other strides: transposes, slices, reversals and repeats are all this. */
function restride(
  backend: WebgpuBackend,
  label: string,
  x: tf.TensorInfo,
  to: { shape: readonly number[]; strides: readonly number[]; offset?: number },
): tf.TensorInfo {
  return stridedMap(backend, {
    label,
    inputs: [{ tensor: x, strides: to.strides, offset: to.offset ?? 0 }],
    shape: to.shape,
    dtype: x.dtype,
    value: ([v]) => v!,
  });
}

export function slice(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  begin: readonly number[],
  size: readonly number[],
): tf.TensorInfo {
  const strides = rowMajor(x.shape);
  return restride(backend, 'Slice', x, {
    shape: size,
    strides,
    offset: begin.reduce((sum, b, d) => sum + b * strides[d]!, 0),
  });
}

export function transpose(backend: WebgpuBackend, x: tf.TensorInfo, order: readonly number[]): tf.TensorInfo {
  const strides = rowMajor(x.shape);
  const shape = order.map((d) => x.shape[d]!);
  const moved = order.filter((d) => x.shape[d] !== 1);
  if (moved.every((d, i) => i === 0 || moved[i - 1]! < d)) return backend.makeView(x, shape);
  return restride(backend, 'Transpose', x, { shape, strides: order.map((d) => strides[d]!) });
}

const threads = 64;
const mostParts = 7; // with the output, the eight storage buffers that every adapter binds

/** Joins tensors along an axis, seven at a time. */
export function concat(backend: WebgpuBackend, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const some = parts.filter((part) => tf.util.sizeFromShape(part.shape) > 0);
  const shape = tf.backend_util.computeOutShape(
    parts.map((part) => part.shape),
    axis,
  );
  if (some.length === 0) return backend.makeTensor(new Float32Array(0), shape, parts[0]!.dtype);
  if (some.length === 1) return backend.makeView(some[0]!, shape);
  if (some.length > mostParts) {
    const head = concat(backend, some.slice(0, mostParts), axis);
    const all = concat(backend, [head, ...some.slice(mostParts)], axis);
    backend.disposeData(head.dataId);
    return all;
  }
  const inner = tf.util.sizeFromShape(shape.slice(axis + 1));
  const widths = some.map((part) => part.shape[axis]! * inner);
  const vector = widths.every((width) => width % 4 === 0);
  const by = vector ? 4 : 1;
  const width = widths.reduce((a, b) => a + b, 0);
  const units = tf.util.sizeFromShape(shape) / by;
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const base = parts[0]!.dtype === 'float32' ? 'f32' : 'i32';
  const type = vector ? `vec4<${base}>` : base;
  const ends = widths.map((_, k) => widths.slice(0, k + 1).reduce((a, b) => a + b, 0) / by);
  const wgsl = `struct Sizes { units: u32, row: u32, width: u32, ${ends.map((_, k) => `end${k}: u32`).join(', ')} };
${some.map((_, k) => `@group(0) @binding(${k}) var<storage, read> in${k}: array<${type}>;`).join('\n')}
@group(0) @binding(${some.length}) var<storage, read_write> out: array<${type}>;
@group(0) @binding(${some.length + 1}) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let r = i / p.width; let c = i - r * p.width;
  ${ends
    .map((_, k) => {
      const start = k === 0 ? '0u' : `p.end${k - 1}`;
      const read = `{ out[i] = in${k}[r * (p.end${k} - ${start}) + c - ${start}]; }`;
      return k === ends.length - 1 ? read : `if (c < p.end${k}) ${read} else`;
    })
    .join(' ')}
}`;
  return backend.run(
    {
      label: `Concat ${some.length}`,
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX), 1],
      uniforms: new Uint32Array([units, gridX * threads, width / by, ...ends]),
    },
    some,
    [{ shape, dtype: parts[0]!.dtype }],
  )[0]!;
}

/** Puts `x` into a larger tensor of `value`. */
function pad(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  paddings: readonly (readonly [number, number])[],
  value: number,
): tf.TensorInfo {
  const shape = x.shape.map((extent, d) => extent + paddings[d]![0] + paddings[d]![1]);
  // merge the dimensions without padding into those before them
  const from: number[] = [];
  const to: number[] = [];
  const before: number[] = [];
  x.shape.forEach((extent, d) => {
    const free = paddings[d]![0] === 0 && paddings[d]![1] === 0;
    if (free && d > 0) {
      from[from.length - 1]! *= extent;
      to[to.length - 1]! *= extent;
      before[before.length - 1]! *= extent;
    } else {
      from.push(extent);
      to.push(shape[d]!);
      before.push(paddings[d]![0]);
    }
  });
  const rank = from.length;
  const vector = [from, to, before].every((list) => list[rank - 1]! % 4 === 0) && x.dtype === 'float32';
  if (vector) for (const list of [from, to, before]) list[rank - 1]! /= 4;
  const units = to.reduce((a, b) => a * b, 1);
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const base = x.dtype === 'float32' ? 'f32' : 'i32';
  const type = vector ? 'vec4f' : base;
  const strides = rowMajor(from);
  const words = new Int32Array(8 + rank * 4);
  words.set([units, gridX * threads]);
  if (base === 'f32') new Float32Array(words.buffer)[2] = value;
  else words[2] = value;
  for (let d = 0; d < rank; d++) words.set([to[d]!, before[d]!, from[d]!, strides[d]!], 8 + d * 4);
  const wgsl = `struct Sizes { units: i32, row: i32, value: ${base}, u0: i32, u1: i32, u2: i32, u3: i32, u4: i32,
  ${from.map((_, d) => `to${d}: i32, before${d}: i32, from${d}: i32, stride${d}: i32`).join(', ')} };
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read_write> out: array<${type}>;
@group(0) @binding(2) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  var rest = i; var at = 0; var inside = true;
  ${from
    .map((_, d) => d)
    .reverse()
    .map(
      (d) =>
        `{ let q = rest / p.to${d}; let c = rest - q * p.to${d} - p.before${d}; rest = q; inside = inside && c >= 0 && c < p.from${d}; at += c * p.stride${d}; }`,
    )
    .join('\n  ')}
  if (inside) { out[i] = x[at]; } else { out[i] = ${type}(p.value); }
}`;
  return backend.run(
    {
      label: `PadV2 ${rank}`,
      wgsl,
      workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1],
      uniforms: new Uint32Array(words.buffer),
    },
    [x],
    [{ shape, dtype: x.dtype }],
  )[0]!;
}

function tile(backend: WebgpuBackend, x: tf.TensorInfo, repeats: readonly number[]): tf.TensorInfo {
  const strides = rowMajor(x.shape);
  const made = restride(backend, 'Tile', x, {
    shape: x.shape.flatMap((extent, d) => [repeats[d]!, extent]),
    strides: x.shape.flatMap((_, d) => [0, strides[d]!]),
  });
  return { ...made, shape: x.shape.map((extent, d) => extent * repeats[d]!) };
}

function filled(backend: WebgpuBackend, shape: readonly number[], value: number, dtype: tf.DataType): tf.TensorInfo {
  const scalar = backend.makeTensor(dtype === 'float32' ? Float32Array.of(value) : Int32Array.of(value), [], dtype);
  const made = restride(backend, 'Fill', scalar, { shape, strides: shape.map(() => 0) });
  backend.disposeData(scalar.dataId);
  return made;
}

const reshape = (name: string, shapeOf: (x: tf.TensorInfo, attrs: Attrs) => number[], input = 'x'): Kernel =>
  kernel(name, (backend, x, attrs) => backend.makeView(x, shapeOf(x, attrs)), input);

export const movementKernels: readonly Kernel[] = [
  reshape(tf.Identity, (x) => x.shape),
  reshape(
    tf.Reshape,
    (x, { shape }) => tf.util.inferFromImplicitShape(shape as number[], tf.util.sizeFromShape(x.shape)),
    'x',
  ),
  reshape(
    tf.ExpandDims,
    (x, { dim }) => {
      const at = (dim as number) < 0 ? x.shape.length + 1 + (dim as number) : (dim as number);
      return [...x.shape.slice(0, at), 1, ...x.shape.slice(at)];
    },
    'input',
  ),
  kernel(tf.Transpose, (backend, x, { perm }) => transpose(backend, x, perm as number[])),
  kernel(tf.Slice, (backend, x, { begin, size }) => {
    const [from, extent] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin as number[], size as number[]) as [
      number[],
      number[],
    ];
    tf.slice_util.assertParamsValid(x, from, extent);
    return slice(backend, x, from, extent);
  }),
  kernel(tf.StridedSlice, (backend, x, attrs) => {
    const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } =
      attrs as unknown as tf.StridedSliceAttrs;
    const info = tf.slice_util.sliceInfo(
      x.shape,
      begin,
      end,
      strides,
      beginMask,
      endMask,
      ellipsisMask,
      newAxisMask,
      shrinkAxisMask,
    );
    if (info.isIdentity) return backend.makeView(x, info.finalShape);
    const own = rowMajor(x.shape);
    const extents = info.begin.map((b, d) => Math.max(0, Math.ceil((info.end[d]! - b) / info.strides[d]!)));
    const made = restride(backend, 'StridedSlice', x, {
      shape: extents,
      strides: own.map((stride, d) => stride * info.strides[d]!),
      offset: info.begin.reduce((sum, b, d) => sum + b * own[d]!, 0),
    });
    return { ...made, shape: info.finalShape };
  }),
  kernel(tf.Reverse, (backend, x, { dims }) => {
    const axes = tf.util.parseAxisParam(dims as number[], x.shape);
    const own = rowMajor(x.shape);
    return restride(backend, 'Reverse', x, {
      shape: x.shape,
      strides: own.map((stride, d) => (axes.includes(d) ? -stride : stride)),
      offset: axes.reduce((sum, d) => sum + (x.shape[d]! - 1) * own[d]!, 0),
    });
  }),
  kernel(tf.Tile, (backend, x, { reps }) => tile(backend, x, reps as number[])),
  kernel(tf.BroadcastTo, (backend, x, { shape }) =>
    restride(backend, 'BroadcastTo', x, {
      shape: shape as number[],
      strides: broadcastStrides(x.shape, shape as number[]),
    }),
  ),
  kernel(tf.PadV2, (backend, x, { paddings, constantValue }) =>
    pad(backend, x, paddings as [number, number][], constantValue as number),
  ),
  kernel(tf.ZerosLike, (backend, x) => filled(backend, x.shape, 0, x.dtype)),
  kernel(tf.OnesLike, (backend, x) => filled(backend, x.shape, 1, x.dtype)),
  {
    kernelName: tf.Fill,
    kernelFunc: ({ attrs, backend }) => {
      const { shape, value, dtype } = attrs as unknown as tf.FillAttrs;
      return filled(backend as WebgpuBackend, shape, value as number, dtype ?? 'float32');
    },
  },
  {
    kernelName: tf.Concat,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const parts = inputs as unknown as tf.TensorInfo[];
      return concat(
        backend as WebgpuBackend,
        parts,
        tf.util.parseAxisParam((attrs as unknown as tf.ConcatAttrs).axis, parts[0]!.shape)[0]!,
      );
    },
  },
  {
    kernelName: tf.Pack,
    kernelFunc: ({ inputs, attrs, backend: current }) => {
      const backend = current as WebgpuBackend;
      const { axis } = attrs as unknown as tf.PackAttrs;
      const views = (inputs as unknown as tf.TensorInfo[]).map((x) =>
        backend.makeView(x, [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)]),
      );
      const packed = concat(backend, views, axis);
      for (const view of views) backend.disposeData(view.dataId);
      return packed;
    },
  },
  {
    kernelName: tf.Unpack,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const x = inputs.value as tf.TensorInfo;
      const axis = tf.util.parseAxisParam((attrs as unknown as tf.UnpackAttrs).axis, x.shape)[0]!;
      return Array.from({ length: x.shape[axis]! }, (_unused, i) => {
        const begin = x.shape.map((_extent, d) => (d === axis ? i : 0));
        const size = x.shape.map((extent, d) => (d === axis ? 1 : extent));
        return { ...slice(backend as WebgpuBackend, x, begin, size), shape: x.shape.filter((_, d) => d !== axis) };
      });
    },
  },
  {
    kernelName: tf.SplitV,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const x = inputs.x as tf.TensorInfo;
      const { numOrSizeSplits, axis } = attrs as unknown as tf.SplitVAttrs;
      const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
      let start = 0;
      return tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along).map((extent) => {
        const begin = x.shape.map((_, d) => (d === along ? start : 0));
        start += extent;
        return slice(
          backend as WebgpuBackend,
          x,
          begin,
          x.shape.map((whole, d) => (d === along ? extent : whole)),
        );
      });
    },
  },
];
