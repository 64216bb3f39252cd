import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { concat } from './concat.ts';
import type { Kernel } from './index.ts';
import { pad } from './pad.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';
import { restrideTexts } from './text.ts';

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
export function restride(
  backend: WebgpuBackend,
  label: string,
  x: tf.TensorInfo,
  to: { shape: readonly number[]; strides: readonly number[]; offset?: number },
): tf.TensorInfo {
  if (x.dtype === 'string') return restrideTexts(backend, x, to);
  return stridedMap(backend, {
    label,
    inputs: [{ tensor: x, strides: to.strides, offset: to.offset ?? 0 }],
    shape: to.shape,
    dtype: x.dtype,
    moves: true,
    value: ([v]) => v!,
  });
}

export function slice(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  begin: readonly number[],
  size: readonly number[],
): tf.TensorInfo {
  if (size.every((extent, d) => extent === x.shape[d])) return backend.makeView(x, size);
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

function tile(backend: WebgpuBackend, x: tf.TensorInfo, repeats: readonly number[]): tf.TensorInfo {
  const strides = rowMajor(x.shape);
  const made = restride(backend, 'Tile', x, {
    shape: x.shape.flatMap((extent, d) => [repeats[d]!, extent]),
    strides: x.shape.flatMap((_, d) => [0, strides[d]!]),
  });
  return { ...made, shape: x.shape.map((extent, d) => extent * repeats[d]!) };
}

export function filled(
  backend: WebgpuBackend,
  shape: readonly number[],
  value: number | string,
  dtype: tf.DataType,
): tf.TensorInfo {
  const scalar =
    typeof value === 'string'
      ? backend.makeTexts([tf.util.encodeString(value)], [])
      : backend.makeTensor(dtype === 'float32' ? Float32Array.of(value) : Int32Array.of(value), [], dtype);
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
      if ((dim as number) < -x.shape.length - 1)
        throw new Error(
          `expandDims: expected a dimension of at least ${-x.shape.length - 1}, got ${dim} for [${x.shape}]`,
        );
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
    pad(backend, x, paddings as [number, number][], { value: constantValue as number }),
  ),
  kernel(tf.MirrorPad, (backend, x, { paddings, mode }) =>
    pad(backend, x, paddings as [number, number][], { mirror: mode as 'reflect' | 'symmetric' }),
  ),
  kernel(tf.DepthToSpace, (backend, x, { blockSize, dataFormat }) => {
    if (dataFormat !== 'NHWC') throw new Error(`depthToSpace: expected NHWC, got ${dataFormat}; transpose first`);
    const [B, h, w, C] = x.shape as [number, number, number, number];
    const n = blockSize as number;
    const depth = C / (n * n);
    // [B, h, w, n, n, depth] -> [B, h, n, w, n, depth]
    const blocks = transpose(backend, { ...x, shape: [B, h, w, n, n, depth] }, [0, 1, 3, 2, 4, 5]);
    return { ...blocks, shape: [B, h * n, w * n, depth] };
  }),
  kernel(tf.SpaceToBatchND, (backend, x, { blockShape, paddings }) => {
    const block = blockShape as number[];
    const all = x.shape.map((_, d): [number, number] => (paddings as [number, number][])[d - 1] ?? [0, 0]);
    const padded = pad(backend, x, all, { value: 0 });
    const product = tf.util.sizeFromShape(block);
    const apart = tf.backend_util.getReshaped(padded.shape, block, product, false);
    const order = tf.backend_util.getPermuted(apart.length, block.length, false);
    const moved = transpose(backend, { ...padded, shape: apart }, order);
    backend.disposeData(padded.dataId);
    return { ...moved, shape: tf.backend_util.getReshapedPermuted(padded.shape, block, product, false) };
  }),
  kernel(tf.BatchToSpaceND, (backend, x, { blockShape, crops }) => {
    const block = blockShape as number[];
    const product = tf.util.sizeFromShape(block);
    const apart = tf.backend_util.getReshaped(x.shape, block, product);
    const order = tf.backend_util.getPermuted(apart.length, block.length);
    const moved = transpose(backend, { ...x, shape: apart }, order);
    const whole = { ...moved, shape: tf.backend_util.getReshapedPermuted(x.shape, block, product) };
    const cropped = (d: number) => (crops as [number, number][])[d - 1] ?? [0, 0];
    const cut = slice(
      backend,
      whole,
      whole.shape.map((_, d) => cropped(d)[0]),
      whole.shape.map((extent, d) => extent - cropped(d)[0] - cropped(d)[1]),
    );
    backend.disposeData(moved.dataId);
    return cut;
  }),
  kernel(tf.ZerosLike, (backend, x) => filled(backend, x.shape, 0, x.dtype)),
  kernel(tf.OnesLike, (backend, x) => filled(backend, x.shape, 1, x.dtype)),
  kernel(tf.Diag, (backend, x) => {
    const size = tf.util.sizeFromShape(x.shape);
    // each value, then as many zeros as there are values
    const apart = pad(
      backend,
      { ...x, shape: [size, 1] },
      [
        [0, 0],
        [0, size],
      ],
      { value: 0 },
    );
    const square = slice(backend, { ...apart, shape: [size * (size + 1)] }, [0], [size * size]);
    backend.disposeData(apart.dataId);
    return { ...square, shape: [...x.shape, ...x.shape] };
  }),
  {
    kernelName: tf.Fill,
    kernelFunc: ({ attrs, backend }) => {
      const { shape, value, dtype } = attrs as unknown as tf.FillAttrs;
      return filled(backend as WebgpuBackend, shape, value, dtype ?? 'float32');
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
      const parts = inputs as unknown as tf.TensorInfo[];
      const [first] = parts as [tf.TensorInfo];
      for (const { shape, dtype } of parts)
        if (dtype !== first.dtype || !tf.util.arraysEqual(shape, first.shape))
          throw new Error(`stack: expected ${first.dtype} [${first.shape}] like the first, got ${dtype} [${shape}]`);
      const views = parts.map((x) => backend.makeView(x, [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)]));
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
