import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel } from '../../kernels/kernel.ts';
import { type AdamSpec, adam, mostTogether } from './adam-step.wgsl.ts';

const sizeOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape);

/** A weight, its gradient and its moments. */
interface Row {
  readonly weight: tf.TensorInfo;
  readonly gradient: tf.TensorInfo;
  readonly old: readonly [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo];
  readonly inPlace: boolean;
}

/** The next weight, m and v of each. */
function steps(backend: WebgpuBackend, rows: readonly Row[], spec: AdamSpec): tf.TensorInfo[][] {
  const over = rows[0]!.inPlace;
  const made = backend.run(
    adam(
      rows.map(({ weight }) => sizeOf(weight)),
      spec,
      { over },
    ),
    over ? rows.map(({ gradient }) => gradient) : [rows[0]!.gradient, ...rows[0]!.old],
    rows.flatMap(({ old }) =>
      old.map((tensor) => ({ shape: tensor.shape, dtype: 'float32' as const, over: over ? tensor : undefined })),
    ),
  );
  return rows.map((_, k) => made.slice(3 * k, 3 * k + 3));
}

/**
 * Takes N weights, then their gradients, first and second moments, and gives N weights, then their first and second moments. Those in place go
 * together, as many as the bindings allow.
 */
export const adamStepKernels: readonly Kernel[] = [
  kernel<Readonly<Record<string, tf.TensorInfo>>, AdamSpec & { consume?: boolean }>(
    'AdamStep',
    (backend, inputs, { consume = false, ...spec }) => {
      const tensors = Object.values(inputs);
      const count = tensors.length / 4;
      const most = Math.min(mostTogether, Math.floor(backend.facts.storageBuffers / 4));
      const made: tf.TensorInfo[][] = [];
      let together: Row[] = [];
      const take = (rows: readonly Row[]): void => {
        if (rows.length > 0) made.push(...steps(backend, rows, spec));
      };
      for (let k = 0; k < count; k++) {
        const at = (kind: number) => tensors[kind * count + k]!;
        const [weight, gradient] = [at(0), at(1)];
        const old = [weight, at(2), at(3)] as const;
        const inPlace = consume && old.every((tensor) => backend.isAlone(tensor) && !backend.isHalf(tensor));
        const row = { weight, gradient, old, inPlace };
        if (inPlace) together.push(row);
        else {
          take(together);
          take([row]);
          together = [];
        }
        if (together.length < most) continue;
        take(together);
        together = [];
      }
      take(together);
      return [0, 1, 2].flatMap((kind) => made.map((row) => row[kind]!));
    },
  ),
];
