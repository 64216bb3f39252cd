import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { restrideTexts } from '../cpu/string-tensors.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { broadcastStrides, rowMajor, stridedMap } from '../maps/strided-map.ts';
import { concat } from './concat.ts';
import { pad } from './pad.ts';

/** Reads `x` with other strides: transposes, slices, reversals and repeats are all this. */
export function restriding(
  label: string,
): (
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  to: { shape: readonly number[]; strides: readonly number[]; offset?: number },
) => tf.TensorInfo {
  const map = stridedMap({ label, moves: true, value: ([v]) => v! });
  return (backend, x, to) => {
    if (x.dtype === 'string') return restrideTexts(backend, x, to);
    const { shape, strides, offset = 0 } = to;
    return map(backend, { inputs: [{ tensor: x, strides, offset }], shape, dtype: x.dtype });
  };
}

const restride = {
  slice: restriding('Slice'),
  transpose: restriding('Transpose'),
  tile: restriding('Tile'),
  fill: restriding('Fill'),
  stridedSlice: restriding('StridedSlice'),
  reverse: restriding('Reverse'),
  broadcastTo: restriding('BroadcastTo'),
};

export function slice(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  begin: readonly number[],
  size: readonly number[],
): tf.TensorInfo {
  if (size.every((extent, d) => extent === x.shape[d])) return backend.makeView(x, size);
  const strides = rowMajor(x.shape);
  return restride.slice(backend, x, {
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
  return restride.transpose(backend, x, { shape, strides: order.map((d) => strides[d]!) });
}

function tile(backend: WebgpuBackend, x: tf.TensorInfo, repeats: readonly number[]): tf.TensorInfo {
  const strides = rowMajor(x.shape);
  const made = restride.tile(backend, x, {
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
  const made = restride.fill(backend, scalar, { shape, strides: shape.map(() => 0) });
  backend.disposeData(scalar.dataId);
  return made;
}

/** The same values repeated along dimensions of size 1, or new ones in front. */
export const broadcastTo = (backend: WebgpuBackend, x: tf.TensorInfo, shape: readonly number[]): tf.TensorInfo =>
  restride.broadcastTo(backend, x, { shape, strides: broadcastStrides(x.shape, shape) });

type X = Tensors<'x'>;

export const movementKernels: readonly Kernel[] = [
  kernel<X>(tf.Identity, (backend, { x }) => backend.makeView(x, x.shape)),
  kernel<X, tf.ReshapeAttrs>(tf.Reshape, (backend, { x }, { shape }) =>
    backend.makeView(x, tf.util.inferFromImplicitShape(shape, tf.util.sizeFromShape(x.shape))),
  ),
  kernel<Tensors<'input'>, tf.ExpandDimsAttrs>(tf.ExpandDims, (backend, { input: x }, { dim }) => {
    if (dim < -x.shape.length - 1)
      throw new Error(
        `expandDims: expected a dimension of at least ${-x.shape.length - 1}, got ${dim} for [${x.shape}]`,
      );
    const at = dim < 0 ? x.shape.length + 1 + dim : dim;
    return backend.makeView(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
  }),
  kernel<X, tf.TransposeAttrs>(tf.Transpose, (backend, { x }, { perm }) => transpose(backend, x, perm)),
  kernel<X, tf.SliceAttrs>(tf.Slice, (backend, { x }, { begin, size }) => {
    const [from, extent] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin, size) as [number[], number[]];
    tf.slice_util.assertParamsValid(x, from, extent);
    return slice(backend, x, from, extent);
  }),
  kernel<X, tf.StridedSliceAttrs>(tf.StridedSlice, (backend, { x }, attrs) => {
    const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attrs;
    const masks = [beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask] as const;
    const info = tf.slice_util.sliceInfo(x.shape, begin, end, strides, ...masks);
    if (info.isIdentity) return backend.makeView(x, info.finalShape);
    const own = rowMajor(x.shape);
    const extents = info.begin.map((b, d) => Math.max(0, Math.ceil((info.end[d]! - b) / info.strides[d]!)));
    const made = restride.stridedSlice(backend, x, {
      shape: extents,
      strides: own.map((stride, d) => stride * info.strides[d]!),
      offset: info.begin.reduce((sum, b, d) => sum + b * own[d]!, 0),
    });
    return { ...made, shape: info.finalShape };
  }),
  kernel<X, tf.ReverseAttrs>(tf.Reverse, (backend, { x }, { dims }) => {
    const axes = tf.util.parseAxisParam(dims, x.shape);
    const own = rowMajor(x.shape);
    return restride.reverse(backend, x, {
      shape: x.shape,
      strides: own.map((stride, d) => (axes.includes(d) ? -stride : stride)),
      offset: axes.reduce((sum, d) => sum + (x.shape[d]! - 1) * own[d]!, 0),
    });
  }),
  kernel<X, tf.TileAttrs>(tf.Tile, (backend, { x }, { reps }) => tile(backend, x, reps)),
  kernel<X, tf.BroadCastToAttrs>(tf.BroadcastTo, (backend, { x }, { shape }) => broadcastTo(backend, x, shape)),
  kernel<X, tf.PadV2Attrs>(tf.PadV2, (backend, { x }, { paddings, constantValue }) =>
    pad(backend, x, paddings, { value: constantValue }),
  ),
  kernel<X, tf.MirrorPadAttrs>(tf.MirrorPad, (backend, { x }, { paddings, mode }) =>
    pad(backend, x, paddings, { mirror: mode }),
  ),
  kernel<X, tf.DepthToSpaceAttrs>(tf.DepthToSpace, (backend, { x }, { blockSize: n, dataFormat }) => {
    if (dataFormat !== 'NHWC') throw new Error(`depthToSpace: expected NHWC, got ${dataFormat}; transpose first`);
    const [B, h, w, C] = x.shape as [number, number, number, number];
    const depth = C / (n * n);
    // [B, h, w, n, n, depth] -> [B, h, n, w, n, depth]
    const blocks = transpose(backend, { ...x, shape: [B, h, w, n, n, depth] }, [0, 1, 3, 2, 4, 5]);
    return { ...blocks, shape: [B, h * n, w * n, depth] };
  }),
  kernel<X, tf.SpaceToBatchNDAttrs>(tf.SpaceToBatchND, (backend, { x }, { blockShape, paddings }) => {
    const all = x.shape.map((_, d): number[] => paddings[d - 1] ?? [0, 0]);
    const padded = pad(backend, x, all as [number, number][], { value: 0 });
    const product = tf.util.sizeFromShape(blockShape);
    const apart = tf.backend_util.getReshaped(padded.shape, blockShape, product, false);
    const order = tf.backend_util.getPermuted(apart.length, blockShape.length, false);
    const moved = transpose(backend, { ...padded, shape: apart }, order);
    backend.disposeData(padded.dataId);
    return { ...moved, shape: tf.backend_util.getReshapedPermuted(padded.shape, blockShape, product, false) };
  }),
  kernel<X, tf.BatchToSpaceNDAttrs>(tf.BatchToSpaceND, (backend, { x }, { blockShape, crops }) => {
    const product = tf.util.sizeFromShape(blockShape);
    const apart = tf.backend_util.getReshaped(x.shape, blockShape, product);
    const order = tf.backend_util.getPermuted(apart.length, blockShape.length);
    const moved = transpose(backend, { ...x, shape: apart }, order);
    const whole = { ...moved, shape: tf.backend_util.getReshapedPermuted(x.shape, blockShape, product) };
    const cropped = (d: number) => crops[d - 1] ?? [0, 0];
    const cut = slice(
      backend,
      whole,
      whole.shape.map((_, d) => cropped(d)[0]!),
      whole.shape.map((extent, d) => extent - cropped(d)[0]! - cropped(d)[1]!),
    );
    backend.disposeData(moved.dataId);
    return cut;
  }),
  kernel<X>(tf.ZerosLike, (backend, { x }) => filled(backend, x.shape, 0, x.dtype)),
  kernel<X>(tf.OnesLike, (backend, { x }) => filled(backend, x.shape, 1, x.dtype)),
  kernel<X>(tf.Diag, (backend, { x }) => {
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
  kernel<unknown, tf.FillAttrs>(tf.Fill, (backend, _inputs, { shape, value, dtype = 'float32' }) =>
    filled(backend, shape, value, dtype),
  ),
  kernel<readonly tf.TensorInfo[], tf.ConcatAttrs>(tf.Concat, (backend, parts, { axis }) =>
    concat(backend, parts, tf.util.parseAxisParam(axis, parts[0]!.shape)[0]!),
  ),
  kernel<readonly tf.TensorInfo[], tf.PackAttrs>(tf.Pack, (backend, parts, { axis }) => {
    const [first] = parts as [tf.TensorInfo];
    for (const { shape, dtype } of parts)
      if (dtype !== first.dtype || !tf.util.arraysEqual(shape, first.shape))
        throw new Error(`stack: expected ${first.dtype} [${first.shape}] like the first, got ${dtype} [${shape}]`);
    const views = parts.map((x) => backend.makeView(x, [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)]));
    const packed = concat(backend, views, axis);
    for (const view of views) backend.disposeData(view.dataId);
    return packed;
  }),
  kernel<Tensors<'value'>, tf.UnpackAttrs>(tf.Unpack, (backend, { value: x }, attrs) => {
    const axis = tf.util.parseAxisParam(attrs.axis, x.shape)[0]!;
    return Array.from({ length: x.shape[axis]! }, (_unused, i) => {
      const begin = x.shape.map((_extent, d) => (d === axis ? i : 0));
      const size = x.shape.map((extent, d) => (d === axis ? 1 : extent));
      return { ...slice(backend, x, begin, size), shape: x.shape.filter((_, d) => d !== axis) };
    });
  }),
  kernel<X, tf.SplitVAttrs>(tf.SplitV, (backend, { x }, { numOrSizeSplits, axis }) => {
    const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
    let start = 0;
    return tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along).map((extent) => {
      const begin = x.shape.map((_, d) => (d === along ? start : 0));
      start += extent;
      const size = x.shape.map((whole, d) => (d === along ? extent : whole));
      return slice(backend, x, begin, size);
    });
  }),
];
