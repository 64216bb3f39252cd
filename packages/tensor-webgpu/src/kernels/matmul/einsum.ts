import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { cast, casting } from '../elementwise/elementwise.ts';
import { type Kernel, kernel } from '../kernel.ts';
import { transpose } from '../movement/movement.ts';
import { sum } from '../rows/reduce.ts';
import { matmul } from './matmul.ts';

/** A tensor with a letter for each dimension. It is freed by whoever takes it. */
interface Lettered {
  readonly tensor: tf.TensorInfo;
  readonly letters: readonly string[];
}

const sizeOf = (shape: readonly number[]): number => tf.util.sizeFromShape([...shape]);

/** Adds up the dimensions whose letters are not `wanted`. */
function without(backend: WebgpuBackend, { tensor, letters }: Lettered, wanted: ReadonlySet<string>): Lettered {
  const axes = letters.flatMap((letter, d) => (wanted.has(letter) ? [] : [d]));
  if (axes.length === 0) return { tensor, letters };
  const total = sum(backend, tensor, axes);
  backend.disposeData(tensor.dataId);
  return { tensor: total, letters: letters.filter((letter) => wanted.has(letter)) };
}

/** The dimensions in another order. */
function ordered(backend: WebgpuBackend, { tensor, letters }: Lettered, order: readonly string[]): tf.TensorInfo {
  const made = transpose(
    backend,
    tensor,
    order.map((letter) => letters.indexOf(letter)),
  );
  backend.disposeData(tensor.dataId);
  return made;
}

/** Multiplies along the letters in common and adds up those that are not `wanted`: one matmul [batch, M, K] x [batch, K, N]. */
function product(backend: WebgpuBackend, a: Lettered, b: Lettered, wanted: ReadonlySet<string>): Lettered {
  const inB = new Set(b.letters);
  const inA = new Set(a.letters);
  const left = without(backend, a, new Set([...wanted, ...inB]));
  const right = without(backend, b, new Set([...wanted, ...inA]));
  const shared = left.letters.filter((letter) => inB.has(letter));
  const batch = shared.filter((letter) => wanted.has(letter));
  const inner = shared.filter((letter) => !wanted.has(letter));
  const rows = left.letters.filter((letter) => !inB.has(letter));
  const columns = right.letters.filter((letter) => !inA.has(letter));
  const x = ordered(backend, left, [...batch, ...rows, ...inner]);
  const y = ordered(backend, right, [...batch, ...inner, ...columns]);
  const count = [batch.length, batch.length + rows.length] as const;
  const [batchShape, rowShape, innerShape] = [
    x.shape.slice(0, count[0]),
    x.shape.slice(...count),
    x.shape.slice(count[1]),
  ];
  const columnShape = y.shape.slice(batch.length + inner.length);
  const made = matmul(
    backend,
    { ...x, shape: [sizeOf(batchShape), sizeOf(rowShape), sizeOf(innerShape)] },
    { ...y, shape: [sizeOf(batchShape), sizeOf(innerShape), sizeOf(columnShape)] },
  );
  for (const used of [x, y]) backend.disposeData(used.dataId);
  return {
    tensor: { ...made, shape: [...batchShape, ...rowShape, ...columnShape] },
    letters: [...batch, ...rows, ...columns],
  };
}

/** Sums of products along the letters of an equation such as `bij,bjk->bik`, of one or two tensors. */
function einsum(backend: WebgpuBackend, tensors: readonly tf.TensorInfo[], equation: string): tf.TensorInfo {
  const { allDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, tensors.length);
  tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, tensors as tf.Tensor[]);
  const [terms, result] = equation.replace(/\s/g, '').split('->') as [string, string];
  const dtype = tensors.map((tensor) => tensor.dtype).reduce(tf.upcastType);
  const operands = terms.split(',').map((term, k): Lettered => {
    const x = tensors[k]!;
    return {
      tensor: casting(backend, x, 'float32', (floats) => backend.makeView(floats, x.shape)),
      letters: [...term],
    };
  });
  const wanted = new Set(result);
  const [first, second] = operands as [Lettered, Lettered?];
  const made = second ? product(backend, first, second, wanted) : without(backend, first, wanted);
  const inOrder = ordered(backend, made, [...result]);
  if (dtype === 'float32') return inOrder;
  const back = cast(backend, inOrder, dtype);
  backend.disposeData(inOrder.dataId);
  return back;
}

export const einsumKernels: readonly Kernel[] = [
  kernel<readonly tf.TensorInfo[], tf.EinsumAttrs>(tf.Einsum, (backend, tensors, { equation }) =>
    einsum(backend, tensors, equation),
  ),
];
