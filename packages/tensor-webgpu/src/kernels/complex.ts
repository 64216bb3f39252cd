import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { ComplexParts } from '../runtime/stored.ts';
import { binary, cast, casting } from './elementwise.ts';
import type { Kernel } from './index.ts';
import { filled } from './movement.ts';
import { resultMap } from './result-map.ts';
import { rowMajor, stridedMap } from './strided-map.ts';

type Part = keyof ComplexParts;

const view = (backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo => backend.makeView(x, x.shape);

/** A complex tensor of copies of (that is, references to) its parts. */
const complexOf = (backend: WebgpuBackend, real: tf.TensorInfo, imag: tf.TensorInfo): tf.TensorInfo =>
  backend.makeComplex({ real: view(backend, real), imag: view(backend, imag) });

/** A kernel that is linear in its complex inputs: it runs on the real and on the imaginary parts by themselves. */
function onParts(kernel: Kernel): Kernel {
  return {
    kernelName: kernel.kernelName,
    kernelFunc: (call) => {
      const backend = call.backend as WebgpuBackend;
      const entries = Object.entries(call.inputs) as [string, tf.TensorInfo][];
      if (!entries.some(([, input]) => input?.dtype === 'complex64')) return kernel.kernelFunc(call);
      const run = (part: Part): tf.TensorInfo | tf.TensorInfo[] => {
        const split = entries.map(([name, input]) => [
          name,
          input?.dtype === 'complex64' ? backend.complexParts(input)[part] : input,
        ]);
        const inputs = Array.isArray(call.inputs) ? split.map(([, input]) => input) : Object.fromEntries(split);
        return kernel.kernelFunc({ ...call, inputs: inputs as tf.NamedTensorInfoMap });
      };
      const [real, imag] = [run('real'), run('imag')];
      if (!Array.isArray(real)) return backend.makeComplex({ real, imag: imag as tf.TensorInfo });
      return real.map((part, k) => backend.makeComplex({ real: part, imag: (imag as tf.TensorInfo[])[k]! }));
    },
  };
}

/** Another kernel for complex inputs `x`, or `a` and `b`. */
function forComplex(
  kernel: Kernel,
  run: (backend: WebgpuBackend, inputs: readonly tf.TensorInfo[], attrs: tf.NamedAttrMap) => tf.TensorInfo,
): Kernel {
  return {
    kernelName: kernel.kernelName,
    kernelFunc: (call) => {
      const inputs = Object.values(call.inputs) as tf.TensorInfo[];
      if (inputs[0]?.dtype !== 'complex64') return kernel.kernelFunc(call);
      return run(call.backend as WebgpuBackend, inputs, call.attrs as tf.NamedAttrMap);
    },
  };
}

/** (a + bi)(c + di) = (ac - bd) + (ad + bc)i. */
function multiply(backend: WebgpuBackend, x: tf.TensorInfo, y: tf.TensorInfo): tf.TensorInfo {
  const [a, b] = [backend.complexParts(x), backend.complexParts(y)];
  const combine = (left: [Part, Part], right: [Part, Part], sign: '+' | '-') => {
    const [first, second] = [left, right].map(([p, q]) =>
      binary(backend, a[p], b[q], { label: tf.Multiply, value: (u, v) => `${u} * ${v}` }),
    ) as [tf.TensorInfo, tf.TensorInfo];
    const label = sign === '+' ? tf.Add : tf.Sub;
    const made = binary(backend, first, second, { label, value: (u, v) => `${u} ${sign} ${v}` });
    for (const used of [first, second]) backend.disposeData(used.dataId);
    return made;
  };
  return backend.makeComplex({
    real: combine(['real', 'real'], ['imag', 'imag'], '-'),
    imag: combine(['real', 'imag'], ['imag', 'real'], '+'),
  });
}

/** To and from complex64: the imaginary part is 0 on the way in and dropped on the way out. */
function castComplex(backend: WebgpuBackend, x: tf.TensorInfo, dtype: tf.DataType): tf.TensorInfo {
  if (x.dtype === 'complex64') {
    const { real, imag } = backend.complexParts(x);
    return dtype === 'complex64' ? complexOf(backend, real, imag) : cast(backend, real, dtype);
  }
  return casting(backend, x, 'float32', (real) =>
    backend.makeComplex({ real: view(backend, real), imag: filled(backend, x.shape, 0, 'float32') }),
  );
}

const withComplex: Readonly<Record<string, (kernel: Kernel) => Kernel>> = {
  ...Object.fromEntries(
    [
      ...[tf.Identity, tf.Reshape, tf.ExpandDims, tf.Transpose, tf.Slice, tf.StridedSlice, tf.Reverse, tf.Tile],
      ...[tf.BroadcastTo, tf.PadV2, tf.MirrorPad, tf.Concat, tf.Pack, tf.Unpack, tf.SplitV, tf.GatherV2, tf.ZerosLike],
      ...[tf.Add, tf.Sub, tf.Neg, tf.Sum, tf.AddN, tf.Select],
    ].map((name) => [name, onParts]),
  ),
  [tf.Multiply]: (kernel) => forComplex(kernel, (backend, [a, b]) => multiply(backend, a!, b!)),
  [tf.OnesLike]: (kernel) =>
    forComplex(kernel, (backend, [x]) =>
      backend.makeComplex({
        real: filled(backend, x!.shape, 1, 'float32'),
        imag: filled(backend, x!.shape, 0, 'float32'),
      }),
    ),
  [tf.Cast]: (kernel) => ({
    kernelName: tf.Cast,
    kernelFunc: (call) => {
      const x = call.inputs.x as tf.TensorInfo;
      const { dtype } = call.attrs as unknown as tf.CastAttrs;
      if (x.dtype !== 'complex64' && dtype !== 'complex64') return kernel.kernelFunc(call);
      return castComplex(call.backend as WebgpuBackend, x, dtype);
    },
  }),
};

/** The kernels that also take complex tensors do so. */
export const takingComplex = (kernels: readonly Kernel[]): readonly Kernel[] =>
  kernels.map((kernel) => withComplex[kernel.kernelName]?.(kernel) ?? kernel);

/**
 * One part of the discrete Fourier transform over the last axis, N^2 terms a row: out[k] = sum of x[n] exp(-+2 pi i n k / N), divided by N
 * on the way back. The angle is reduced in integers.
 */
function transformPart(
  backend: WebgpuBackend,
  { real, imag }: ComplexParts,
  { part, inverse }: { part: Part; inverse: boolean },
): tf.TensorInfo {
  const N = real.shape.at(-1)!;
  return resultMap(backend, {
    label: `Fourier ${part}`,
    inputs: [real, imag],
    output: { shape: real.shape, dtype: 'float32' },
    integers: { N },
    floats: { angle: ((inverse ? 2 : -2) * Math.PI) / N, scale: inverse ? 1 / N : 1 },
    body: `let k = i % p.N; let base = i - k;
  var turn = 0; var total = 0.0;
  for (var n = 0; n < p.N; n++) {
    let angle = p.angle * f32(turn);
    total += ${part === 'real' ? 'in0[base + n] * cos(angle) - in1[base + n] * sin(angle)' : 'in0[base + n] * sin(angle) + in1[base + n] * cos(angle)'};
    turn += k;
    if (turn >= p.N) { turn -= p.N; }
  }
  out[i] = total * p.scale;`,
  });
}

function fourier(backend: WebgpuBackend, x: tf.TensorInfo, inverse: boolean): tf.TensorInfo {
  const parts = backend.complexParts(x);
  return backend.makeComplex({
    real: transformPart(backend, parts, { part: 'real', inverse }),
    imag: transformPart(backend, parts, { part: 'imag', inverse }),
  });
}

/** |a + bi| without squares that underflow. */
function absolute(backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo {
  const { real, imag } = backend.complexParts(x);
  return stridedMap(backend, {
    label: 'ComplexAbs',
    inputs: [real, imag].map((tensor) => ({ tensor, strides: rowMajor(tensor.shape) })),
    shape: x.shape,
    dtype: 'float32',
    functions: ({ float }) => `fn hypotenuse(a: ${float}, b: ${float}) -> ${float} {
  let large = max(abs(a), abs(b)); let small = min(abs(a), abs(b));
  let ratio = small / select(large, ${float}(1.0), large == ${float}());
  return large * sqrt(1.0 + ratio * ratio);
}`,
    value: ([a, b]) => `hypotenuse(${a}, ${b})`,
  });
}

const kernel = (
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Record<string, tf.TensorInfo>) => tf.TensorInfo,
): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, backend }) => run(backend as WebgpuBackend, inputs as Record<string, tf.TensorInfo>),
});

export const complexKernels: readonly Kernel[] = [
  kernel(tf.Complex, (backend, { real, imag }) => complexOf(backend, real!, imag!)),
  kernel(tf.Real, (backend, { input }) => view(backend, backend.complexParts(input!).real)),
  kernel(tf.Imag, (backend, { input }) => view(backend, backend.complexParts(input!).imag)),
  kernel(tf.ComplexAbs, (backend, { x }) => absolute(backend, x!)),
  kernel(tf.FFT, (backend, { input }) => fourier(backend, input!, false)),
  kernel(tf.IFFT, (backend, { input }) => fourier(backend, input!, true)),
];
