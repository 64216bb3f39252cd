import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import type { ComplexParts } from '../../runtime/tensor-record.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { rowMajor, stridedMap } from '../maps/strided-map.ts';
import { filled } from '../movement/movement.ts';
import { binary, cast, casting } from './elementwise.ts';

type Part = keyof ComplexParts;

const view = (backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo => backend.makeView(x, x.shape);

/** A complex tensor of copies of (that is, references to) its parts. */
const complexOf = (backend: WebgpuBackend, real: tf.TensorInfo, imag: tf.TensorInfo): tf.TensorInfo =>
  backend.makeComplex({ real: view(backend, real), imag: view(backend, imag) });

type Inputs = tf.NamedTensorInfoMap | readonly tf.TensorInfo[];

type Given = Parameters<tf.KernelFunc>[0];

/** A kernel that is linear in its complex inputs: it runs on the real and on the imaginary parts by themselves. */
const onParts = (real: Kernel): Kernel => {
  const parted = ofParts(real);
  return { ...real, kernelFunc: (call) => (takesComplex(call) ? parted : real).kernelFunc(call) };
};

/** At every call of a real kernel, so without a list of the inputs. */
function takesComplex({ inputs }: Given): boolean {
  for (const name in inputs) if (inputs[name]?.dtype === 'complex64') return true;
  return false;
}

const ofParts = ({ kernelName, kernelFunc }: Kernel): Kernel =>
  kernel<Inputs, tf.NamedAttrMap>(kernelName, (backend, inputs, attrs) => {
    const run = (part: Part) => {
      const taken = (input: tf.TensorInfo | undefined) =>
        input?.dtype === 'complex64' ? backend.complexParts(input)[part] : input;
      const entries = Object.entries(inputs).map(([name, input]) => [name, taken(input)]);
      // a list of tensors passes as the map of its numbers
      return kernelFunc({
        backend,
        attrs,
        inputs: Object.assign(Array.isArray(inputs) ? [] : {}, Object.fromEntries(entries)),
      });
    };
    const real = run('real');
    const imag = [run('imag')].flat();
    if (!Array.isArray(real)) return backend.makeComplex({ real, imag: imag[0]! });
    return real.map((part, k) => backend.makeComplex({ real: part, imag: imag[k]! }));
  });

/** Another kernel for complex inputs `x`, or `a` and `b`. */
const forComplex = (
  { kernelName, kernelFunc }: Kernel,
  run: (backend: WebgpuBackend, inputs: readonly tf.TensorInfo[]) => tf.TensorInfo,
): Kernel =>
  kernel<Tensors<string>, tf.NamedAttrMap>(kernelName, (backend, inputs, attrs) => {
    const tensors = Object.values(inputs);
    return tensors[0]?.dtype === 'complex64' ? run(backend, tensors) : kernelFunc({ backend, inputs, attrs });
  });

const product = binary({ label: tf.Multiply, value: (u, v) => `${u} * ${v}` });
const sum = binary({ label: tf.Add, value: (u, v) => `${u} + ${v}` });
const difference = binary({ label: tf.Sub, value: (u, v) => `${u} - ${v}` });

/** (a + bi)(c + di) = (ac - bd) + (ad + bc)i. */
function multiply(backend: WebgpuBackend, x: tf.TensorInfo, y: tf.TensorInfo): tf.TensorInfo {
  const [a, b] = [backend.complexParts(x), backend.complexParts(y)];
  const combine = (left: [Part, Part], right: [Part, Part], sign: '+' | '-') => {
    const [first, second] = [left, right].map(([p, q]) => product(backend, a[p], b[q])) as [
      tf.TensorInfo,
      tf.TensorInfo,
    ];
    const made = (sign === '+' ? sum : difference)(backend, first, second);
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
  [tf.Cast]: (real) =>
    kernel<Tensors<'x'>, tf.CastAttrs>(tf.Cast, (backend, inputs, attrs) => {
      const { dtype } = attrs;
      if (inputs.x.dtype === 'complex64' || dtype === 'complex64') return castComplex(backend, inputs.x, dtype);
      return real.kernelFunc({ backend, inputs, attrs: { dtype } });
    }),
};

/** The kernels that also take complex tensors do so. */
export const takingComplex = (kernels: readonly Kernel[]): readonly Kernel[] =>
  kernels.map((kernel) => withComplex[kernel.kernelName]?.(kernel) ?? kernel);

/** |a + bi| without squares that underflow. */
const hypotenuse = stridedMap({
  label: 'ComplexAbs',
  functions: ({ float }) => `fn hypotenuse(a: ${float}, b: ${float}) -> ${float} {
  let large = max(abs(a), abs(b));
  let small = min(abs(a), abs(b));
  let ratio = small / select(large, ${float}(1.0), large == ${float}());
  return large * sqrt(1.0 + ratio * ratio);
}`,
  value: ([a, b]) => `hypotenuse(${a}, ${b})`,
});

function absolute(backend: WebgpuBackend, x: tf.TensorInfo): tf.TensorInfo {
  const { real, imag } = backend.complexParts(x);
  return hypotenuse(backend, {
    inputs: [real, imag].map((tensor) => ({ tensor, strides: rowMajor(tensor.shape) })),
    shape: x.shape,
    dtype: 'float32',
  });
}

export const complexKernels: readonly Kernel[] = [
  kernel<Tensors<'real' | 'imag'>>(tf.Complex, (backend, { real, imag }) => complexOf(backend, real, imag)),
  kernel<Tensors<'input'>>(tf.Real, (backend, { input }) => view(backend, backend.complexParts(input).real)),
  kernel<Tensors<'input'>>(tf.Imag, (backend, { input }) => view(backend, backend.complexParts(input).imag)),
  kernel<Tensors<'x'>>(tf.ComplexAbs, (backend, { x }) => absolute(backend, x)),
];
