import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { fewKnown } from '../cpu/whole-numbers.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';

const gathering = memoised(({ wide }: { wide: boolean }) =>
  resultMap({
    label: 'GatherV2',
    wide: [wide, false],
    wideOutput: wide,
    uniforms: { inner: 'i32', picks: 'i32', outer: 'i32', length: 'i32' },
    // a place outside that only the GPU knows reads 0, as TensorFlow.js does there
    body: `let n = i % p.inner;
  let pick = (i / p.inner) % p.picks;
  let o = i / (p.inner * p.picks);
  let b = o / p.outer;
  let at = in1[b * p.picks + pick];
  if (at >= 0 && at < p.length) { out[i] = in0[(o * p.length + at) * p.inner + n]; } else { out[i] = Out(); }`,
  }),
);

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
  const wide = info.sliceSize % 4 === 0;
  const last = x.shape[along]! - 1;
  const wrong = backend.cpuValues(indices)?.find((index) => index < 0 || index > last);
  if (wrong !== undefined) throw new Error(`GatherV2: the index value ${wrong} is not in [0, ${last}]`); // TensorFlow.js's words
  const size = tf.util.sizeFromShape(info.outputShape);
  const known = fewKnown(backend, [x, indices], { size, dtype: x.dtype });
  if (known) {
    const [values, places] = known as [tf.backend_util.TypedArray, tf.backend_util.TypedArray];
    const picks = places.length / Math.max(1, info.batchSize);
    const picked = Int32Array.from({ length: size }, (_, i) => {
      const row = Math.floor(i / (info.sliceSize * picks));
      const batch = Math.floor(row / info.outerSize);
      const at = places[batch * picks + (Math.floor(i / info.sliceSize) % picks)]!;
      return values[(row * x.shape[along]! + at) * info.sliceSize + (i % info.sliceSize)]!;
    });
    return backend.makeTensor(picked, info.outputShape, x.dtype);
  }
  return gathering({ wide })(backend, {
    inputs: [x, indices],
    shape: info.outputShape,
    dtype: x.dtype,
    uniforms: {
      inner: info.sliceSize / (wide ? 4 : 1),
      picks: tf.util.sizeFromShape(indices.shape) / Math.max(1, info.batchSize),
      outer: info.outerSize,
      length: x.shape[along]!,
    },
  });
}

/** WGSL: where the index vector in row `r` of input `k` points, in slices; `depth` numbers with a stride each. */
export const pointer = (k: number, depth: number): string =>
  Array.from({ length: depth }, (_, d) => `in${k}[r * ${depth} + ${d}] * p.stride${d}`).join(' + ') || '0';

/** The uniforms that `pointer` reads. */
export const pointerUniforms = (depth: number): Record<string, 'i32'> =>
  Object.fromEntries(Array.from({ length: depth }, (_, d) => [`stride${d}`, 'i32' as const]));

/** Their numbers. */
export const pointerIntegers = (strides: readonly number[], depth: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: depth }, (_, d) => [`stride${d}`, strides[d]!]));

const gatheringNd = memoised(({ depth }: { depth: number }) =>
  resultMap<string>({
    label: `GatherNd ${depth}`,
    uniforms: { inner: 'i32', size: 'i32', ...pointerUniforms(depth) },
    body: `let r = i / p.inner;
  let at = (${pointer(1, depth)}) * p.inner + i % p.inner;
  if (at >= 0 && at < p.size) { out[i] = in0[at]; } else { out[i] = Out(); }`,
  }),
);

/** out[r, n] = params[indices[r, :], n]. */
function gatherNd(backend: WebgpuBackend, { params, indices }: Tensors<'params' | 'indices'>): tf.TensorInfo {
  const [shape, , inner, strides] = tf.gather_util.prepareAndValidate(params as tf.Tensor, indices as tf.Tensor);
  const depth = indices.shape.at(-1)!;
  return gatheringNd({ depth })(backend, {
    inputs: [params, indices],
    shape,
    dtype: params.dtype,
    uniforms: { inner, size: tf.util.sizeFromShape(params.shape), ...pointerIntegers(strides, depth) },
  });
}

const choosing = resultMap({
  label: 'OneHot',
  uniforms: { depth: 'i32', on: 'f32', off: 'f32' },
  body: 'out[i] = Out(select(p.off, p.on, in0[i / p.depth] == i % p.depth));',
});

/** out[..., d] = onValue where indices[...] = d, else offValue. */
const oneHot = (backend: WebgpuBackend, { indices }: Tensors<'indices'>, attrs: tf.OneHotAttrs): tf.TensorInfo =>
  choosing(backend, {
    inputs: [indices],
    shape: [...indices.shape, attrs.depth],
    dtype: attrs.dtype,
    uniforms: { depth: attrs.depth, on: attrs.onValue, off: attrs.offValue },
  });

const typed = (values: number[], dtype: tf.DataType): Int32Array | Float32Array =>
  dtype === 'float32' ? Float32Array.from(values) : Int32Array.from(values);

export const gatherKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'indices'>, tf.GatherV2Attrs>(tf.GatherV2, (backend, { x, indices }, attrs) =>
    gather(backend, x, indices, attrs),
  ),
  kernel(tf.GatherNd, gatherNd),
  kernel(tf.OneHot, oneHot),
  kernel<unknown, tf.RangeAttrs>(tf.Range, (backend, _inputs, { start, stop, step, dtype }) => {
    const along = stop < start && step === 1 ? -1 : step; // 1 is the step of who gives none
    const count = Math.max(0, Math.ceil((stop - start) / along));
    const values = Array.from({ length: count }, (_, i) => start + i * along);
    return backend.makeTensor(typed(values, dtype), [count], dtype);
  }),
  kernel<unknown, tf.LinSpaceAttrs>(tf.LinSpace, (backend, _inputs, { start, stop, num }) => {
    const values = Array.from({ length: num }, (_, i) => start + (num > 1 ? (i * (stop - start)) / (num - 1) : 0));
    return backend.makeTensor(typed(values, 'float32'), [num], 'float32');
  }),
];
