import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { LossParts } from './loss.ts';

/** An encoder's embedding and intermediates. */
export interface Features {
  readonly embedding: tf.Tensor;
  readonly taps: Readonly<Record<string, tf.Tensor>>;
  /** Of a student whose taps were compared as they arose: sum (x - y)^2 to the teacher's, by tap. The losses take them for the taps. */
  readonly distances?: Readonly<Record<string, tf.Tensor>>;
}

/** The tap names of stage 1. */
export interface BottleneckTaps {
  readonly windowQkv: readonly string[];
  readonly globalQkv: readonly string[];
  readonly mlpHidden: readonly string[];
}

/**
 * Stage 1, bottleneck aligning: (1 - a) MSE(embedding) + a [MSE(q, k, v of window blocks) + MSE(q, k, v of global blocks) +
 * MSE(MLP hidden after GELU)], student against the original (SlimSAM section 3.3). Within a term one mean is taken over all blocks'
 * elements. The paper's code compares the global blocks' q, k, v with themselves; here they are compared with the teacher's.
 */
export function bottleneckAligning(inputs: {
  readonly student: Features;
  readonly teacher: Features;
  readonly taps: BottleneckTaps;
  readonly a: number;
}): LossParts {
  checkFields('bottleneckAligning', inputs, { student: 'object', teacher: 'object', taps: 'object', a: 'number' });
  const { student, teacher, taps, a } = inputs;
  const embedding = meanSquaredError(['embedding'], student, teacher);
  if (a === 0) return { total: embedding, parts: { embedding } };
  const term = (names: readonly string[]) => meanSquaredError(names, student, teacher);
  const parts = {
    embedding,
    windowQkv: term(taps.windowQkv),
    globalQkv: term(taps.globalQkv),
    mlpHidden: term(taps.mlpHidden),
  };
  const bottleneck = tf.addN([parts.windowQkv, parts.globalQkv, parts.mlpHidden]);
  return { total: tf.add(tf.mul(embedding, 1 - a), tf.mul(bottleneck, a)) as tf.Scalar, parts };
}

/**
 * Stage 2, embedding aligning: (1 - a) MSE(embedding, the original's) + a MSE(block embeddings, the stage-1 model's) +
 * a MSE(embedding, the stage-1 model's) (SlimSAM section 3.3).
 */
export function embeddingAligning(inputs: {
  readonly student: Features;
  readonly teacher: Features;
  readonly previous: Features;
  readonly taps: readonly string[];
  readonly a: number;
}): LossParts {
  checkFields('embeddingAligning', inputs, {
    student: 'object',
    teacher: 'object',
    previous: 'object',
    taps: 'list',
    a: 'number',
  });
  const { student, teacher, previous, taps, a } = inputs;
  const embedding = meanSquaredError(['embedding'], student, teacher);
  if (a === 0) return { total: embedding, parts: { embedding } };
  const parts = {
    embedding,
    blockEmbeddings: meanSquaredError(taps, student, previous),
    previousEmbedding: meanSquaredError(['embedding'], student, previous),
  };
  const aligned = tf.add(parts.blockEmbeddings, parts.previousEmbedding);
  return { total: tf.add(tf.mul(embedding, 1 - a), tf.mul(aligned, a)) as tf.Scalar, parts };
}

/** a of stage 1: a half in the first half of the epochs, then 0. */
export function bottleneckAlpha(epoch: number, epochs: number): number {
  return epoch < epochs / 2 ? 0.5 : 0;
}

/**
 * a of stage 2: (N - n - 1) / N for epoch n < N, then 0.
 *
 * @param options.N half of the epochs unless given, and 2 at least, since N = 1 has no a above 0 (the paper's code: 11 of 20)
 * @throws when N is not a natural number
 */
export function embeddingAlpha(epoch: number, epochs: number, options: { readonly N?: number } = {}): number {
  const { N = Math.max(2, Math.round(epochs / 2)) } = options;
  if (!Number.isInteger(N) || N < 1) throw new Error(`embeddingAlpha: expected N to be 1, 2, …, got ${N}`);
  return epoch < N ? (N - epoch - 1) / N : 0;
}

function of(name: string, { embedding, taps }: Features): tf.Tensor | undefined {
  return name === 'embedding' ? embedding : taps[name];
}

/** The tensors of one name. @throws when one is missing, or their shapes differ */
function pair(name: string, student: Features, teacher: Features): [tf.Tensor, tf.Tensor] {
  const [x, y] = [of(name, student), of(name, teacher)];
  if (!x || !y) {
    const names = Object.keys((x ? teacher : student).taps);
    throw new Error(
      `distill: expected tap '${name}', got ${names.join(', ') || 'none'}; ask the forward function for it`,
    );
  }
  if (x.shape.join() !== y.shape.join())
    throw new Error(
      `distill: expected student's '${name}' in the teacher's shape [${y.shape}], got [${x.shape}]; align only what is not pruned`,
    );
  return [x, y];
}

/** One mean over the elements of all tensors of these names together. */
function meanSquaredError(names: readonly string[], student: Features, teacher: Features): tf.Scalar {
  if (names.length === 0) return tf.scalar(0);
  const sums = names.map((name) => student.distances?.[name] ?? squaredDistance(...pair(name, student, teacher)));
  const elements = names.reduce((sum, name) => sum + of(name, teacher)!.size, 0);
  return tf.div(tf.addN(sums), elements) as tf.Scalar;
}

/** sum (x - y)^2 of a student's tap and the teacher's. @throws when that is missing, or of another shape */
export function distance(name: string, tap: tf.Tensor, teacher: Features): tf.Scalar {
  return squaredDistance(...pair(name, { embedding: tap, taps: { [name]: tap } }, teacher));
}

/**
 * sum (x - y)^2 with its gradient by x; y is a teacher's, and constant. The gradient of TensorFlow.js's composition would spread dy to
 * two tensors as large as the tap first. Where the backend has its kernels (`SquaredDistance` of `@slimsam/tensor-webgpu`), they compute both.
 */
function squaredDistance(x: tf.Tensor, y: tf.Tensor): tf.Scalar {
  const fused = x.size > 0 && tf.getKernel('SquaredDistance', tf.getBackend()) != null;
  const run = (name: string, inputs: Readonly<Record<string, tf.Tensor>>) =>
    tf.engine().runKernel<tf.Tensor>(name, inputs);
  const distance = tf.customGrad((x, save) => {
    const student = x as tf.Tensor;
    (save as tf.GradSaveFunc)([student, y]);
    const value = fused ? run('SquaredDistance', { x: student, y }) : tf.sum(tf.squaredDifference(student, y));
    return {
      value: value as tf.Scalar,
      gradFunc: (dy, saved) => {
        const [student, teacher] = saved as [tf.Tensor, tf.Tensor];
        if (fused) return run('SquaredDistanceGrad', { x: student, y: teacher, dy });
        return tf.mul(tf.sub(student, teacher), tf.mul(dy, 2));
      },
    };
  });
  return distance(x) as tf.Scalar;
}
