import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import { type Activation, finish } from '../elementwise/activation.ts';
import { cast, casting } from '../elementwise/elementwise.ts';
import { replacing, rounded } from '../elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { broadcastTo, transpose } from '../movement/movement.ts';
import { addParts } from '../rows/reduce.ts';
import { isMatmulActivation, type MatmulActivation } from './activations.wgsl.ts';
import { type MatmulSpec, partsOfK } from './matmul.wgsl.ts';
import { programFor } from './matmul-choice.ts';
import { partsForGpu } from './tile-choice.ts';

/** How to multiply: which operand is stored transposed, an optional bias [N] that is added to every row, and whether the result is in half precision. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: tf.TensorInfo;
  readonly half?: boolean;
  /** Of the shape of the result, to which it is added last; with a bias, and K > 0. */
  readonly residual?: tf.TensorInfo | undefined;
  /** Of the results before they are stored; with a bias, and K > 0. */
  readonly activation?: MatmulActivation | undefined;
}

/**
 * [..., M, K] x [..., K, N] -> [..., M, N], broadcasting the leading dimensions. Sums are float32, whatever a, b and the result are.
 *
 * @throws when the inner sizes differ, or a or b is not float32
 */
export function matmul(
  backend: WebgpuBackend,
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  options: MatmulOptions = {},
): tf.TensorInfo {
  const { transposeA = false, transposeB = false, bias, half = false, activation, residual } = options;
  const [M, K] = lastTwo(a.shape, transposeA);
  const [innerB, N] = lastTwo(b.shape, transposeB);
  if (K !== innerB) {
    throw new Error(
      `matmul: expected inner sizes to agree, got [${a.shape}]${transposeA ? '^T' : ''} x [${b.shape}]${transposeB ? '^T' : ''}`,
    );
  }
  if (a.dtype !== 'float32' || b.dtype !== 'float32') {
    throw new Error(
      `matmul: expected float32, got ${a.dtype} [${a.shape}] x ${b.dtype} [${b.shape}]; cast with tf.cast`,
    );
  }
  const outerA = a.shape.slice(0, -2);
  const outerB = b.shape.slice(0, -2);
  const outer = tf.broadcast_util.assertAndGetBroadcastShape(outerA, outerB);
  const batch = tf.util.sizeFromShape(outer);
  const shape = [...outer, M, N];
  const elements = batch * M * N;
  if (elements > 0 && K === 0 && bias) return broadcastTo(backend, bias, shape);
  if (elements === 0 || K === 0) return backend.makeTensor(new Float32Array(elements), shape, 'float32');
  const [batchA, batchB] = [tf.util.sizeFromShape(outerA), tf.util.sizeFromShape(outerB)];
  if (batchA !== 1 && batchA !== batch)
    return repeated(backend, a, outer, (whole) => matmul(backend, whole, b, options));
  if (batchB !== 1 && batchB !== batch)
    return repeated(backend, b, outer, (whole) => matmul(backend, a, whole, options));
  const panels = takesPanels(backend.facts);
  if (panels && transposeA && a.shape.length === 2 && paysToTurn({ M, K, N }))
    return replacing(backend, transpose(backend, a, [1, 0]), (_, turned) =>
      matmul(backend, turned, b, { ...options, transposeA: false }),
    );
  // one weight matrix for a whole batch of rows is one larger matmul
  const fold = batchB === 1 && batchA === batch && !transposeA;
  const rows = fold ? batch * M : M;
  const matrices = fold ? 1 : batch;
  const parts = bias ? 1 : (backend.facts.isCpu ? partsOfK : partsForGpu)({ M: rows, N, K, batch: matrices });
  const halfAtOnce = half && !panels && parts === 1; // else sums pass through the result
  // no spreads: at every dispatch they would cost more than the rest of it
  const spec: MatmulSpec = {
    M: rows,
    N,
    K,
    batch: matrices,
    transposeA,
    transposeB,
    broadcastA: batchA === 1,
    broadcastB: batchB === 1,
    bias: bias !== undefined,
    activation,
    residual: residual !== undefined,
    spread: undefined,
    parts,
    halfA: backend.isHalf(a),
    halfB: backend.isHalf(b),
    halfC: halfAtOnce,
  };
  const program = programFor(backend, spec);
  const inputs = [a, b];
  if (bias) inputs.push(bias);
  if (residual) inputs.push(residual);
  const sums = backend.run(program, inputs, [{ shape: parts === 1 ? shape : [parts, ...shape], dtype: 'float32' }])[0]!;
  const total = parts === 1 ? sums : replacing(backend, sums, addParts);
  return half && !halfAtOnce ? replacing(backend, total, rounded) : total;
}

/**
 * Whether panels do better with a transposed copy of A, whose values they then read four at a time: from 1024^3 on 7 to 14 % on llvmpipe,
 * as for the gradients of a ViT's weights; with few columns the copy costs more.
 */
const paysToTurn = ({ M, K, N }: { M: number; K: number; N: number }): boolean =>
  K % 4 === 0 && N >= 768 && M * K * N >= 2 ** 30;

/** Runs `use` on `x` with its leading dimensions broadcast to `outer`. */
function repeated(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  outer: readonly number[],
  use: (whole: tf.TensorInfo) => tf.TensorInfo,
): tf.TensorInfo {
  const whole = broadcastTo(backend, x, [...outer, ...x.shape.slice(-2)]);
  const made = use(whole);
  backend.disposeData(whole.dataId);
  return made;
}

function lastTwo(shape: readonly number[], transposed: boolean): [number, number] {
  const [rows, columns] = [shape.at(-2)!, shape.at(-1)!];
  return transposed ? [columns, rows] : [rows, columns];
}

/** `matmul` of any real dtype: integers are multiplied as floats. */
function anyMatmul(
  backend: WebgpuBackend,
  { a, b }: { a: tf.TensorInfo; b: tf.TensorInfo },
  options: MatmulOptions,
): tf.TensorInfo {
  const dtype = tf.upcastType(a.dtype, b.dtype);
  const product = casting(backend, a, 'float32', (left) =>
    casting(backend, b, 'float32', (right) => matmul(backend, left, right, options)),
  );
  if (dtype === 'float32') return product;
  const made = cast(backend, product, dtype);
  backend.disposeData(product.dataId);
  return made;
}

type Fused = Tensors<'a' | 'b', 'bias' | 'preluActivationWeights'>;

export const matmulKernels: readonly Kernel[] = [
  kernel<Tensors<'a' | 'b'>, tf.BatchMatMulAttrs>(tf.BatchMatMul, (backend, { a, b }, { transposeA, transposeB }) => {
    const half = backend.isHalf(a) && backend.isHalf(b); // gradients meet one operand in float32, and stay so
    return anyMatmul(backend, { a, b }, { transposeA, transposeB, half });
  }),
  kernel<Fused, tf._FusedMatMulAttrs>(tf._FusedMatMul, (backend, inputs, attrs) => {
    const { a, b, bias, preluActivationWeights: slopes } = inputs;
    const { transposeA, transposeB, activation, leakyreluAlpha } = attrs;
    // a bias [N] is added by the matmul itself, and then most activations are its own too
    const vector =
      bias?.shape.length === 1 && bias.shape[0] === b.shape.at(transposeB ? -2 : -1) && bias.dtype === 'float32';
    const floats = a.dtype === 'float32' && b.dtype === 'float32' && a.shape.at(transposeA ? -2 : -1) !== 0;
    const own = vector && floats && isMatmulActivation(activation);
    const product = anyMatmul(
      backend,
      { a, b },
      { transposeA, transposeB, ...(vector && { bias }), ...(own && { activation }) },
    );
    return finish(backend, product, {
      bias: vector ? undefined : bias,
      activation: own ? 'linear' : (activation as Activation),
      slopes,
      alpha: leakyreluAlpha,
    });
  }),
];
