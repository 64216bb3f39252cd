import '@slimsam/tensor-webgpu/ops';
import '@tensorflow/tfjs-backend-cpu';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  adam,
  type DistillOptions,
  distill,
  embeddingAligning,
  type FeatureSource,
  type Forward,
  maskLoss,
  type TrainingStep,
} from '../src/index.ts';

beforeAll(() => tf.setBackend('cpu'));
let live = 0;
beforeEach(() => {
  live = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors, 'tensors left over').toBe(live));

/** One block, one neck; says which taps it was asked for. */
const forward =
  (asked: (taps: readonly string[]) => void): Forward =>
  ({ block, neck }, images, taps, keep = (_, tap) => tap) => {
    asked(taps);
    const stream = tf.mul(images, block!);
    const tapped: Weights = taps.includes('stream') ? { stream: keep('stream', stream) } : {};
    return { embedding: tf.mul(stream, neck!), taps: tapped };
  };
const images = (...sizes: number[]) =>
  sizes.map((size, i) => tf.randomNormal([size, 3, 2, 2], 0, 1, 'float32', i + 1) as tf.Tensor4D);

type Batch = { images: tf.Tensor4D; name: string };

/** Runs to the end; the models are given by numbers. */
async function run<B extends tf.Tensor4D | Batch = tf.Tensor4D>(
  options: Pick<DistillOptions<'teacher' | 'previous', B>, 'taps' | 'batches'> & {
    teacher?: FeatureSource<B>;
    accumulate?: number;
    epochs?: number;
  },
): Promise<{ asked: string[]; losses: number[]; weights: number[] }> {
  const asked: string[] = [];
  const model = (name: string, block: number, neck: number) => ({
    forward: forward((taps) => asked.push([name, ...taps].join(' '))),
    weights: { block: tf.scalar(block), neck: tf.scalar(neck) },
  });
  const models = [model('student', 1, 1), model('teacher', 2, 3), model('previous', 2, 2.5)] as const;
  const losses: number[] = [];
  let last: TrainingStep | undefined;
  try {
    for await (const step of distill<'teacher' | 'previous', B>({
      student: models[0],
      teachers: { teacher: models[1], previous: models[2], ...(options.teacher && { teacher: options.teacher }) },
      taps: options.taps,
      loss: (student, teachers, { epoch }) =>
        embeddingAligning({ student, ...teachers, taps: ['stream'], a: epoch === 0 ? 0.5 : 0 }),
      optimizer: adam(),
      learningRate: 0.1,
      batches: options.batches,
      epochs: options.epochs ?? 2,
      ...(options.accumulate && { accumulate: options.accumulate }),
    })) {
      last = step;
      losses.push(step.loss);
    }
    const weights = await Promise.all(Object.values(last!.weights).map(async (x) => (await x.data())[0]!));
    tf.dispose({ ...last!.weights });
    return { asked, losses, weights };
  } finally {
    for (const { weights } of models) tf.dispose(weights);
  }
}

const used = ({ epoch }: { epoch: number }) =>
  epoch === 0
    ? { student: ['stream'], teachers: { teacher: [], previous: ['stream'] } }
    : { student: [], teachers: { teacher: [] } };

test('teachers run only where the step uses them, with the taps that it uses', async () => {
  const batches = () => images(2);
  const alike = await run({ taps: () => ['stream'], batches });
  expect(alike.asked.slice(3)).toEqual(['teacher stream', 'previous stream', 'student stream']);
  const { asked, ...results } = await run({ taps: used, batches });
  expect(asked).toEqual(['teacher', 'previous stream', 'student stream', 'teacher', 'student']);
  expect(results).toEqual({ losses: alike.losses, weights: alike.weights });
  const without = () => ({ student: ['stream'], teachers: { teacher: [] } });
  await expect(run({ taps: without, batches })).rejects.toThrow(
    "expected the loss not to look at teacher 'previous' in epoch 0, whose taps are left out, got it",
  );
});

test('taps that are compared as they arise give the same steps', async () => {
  const batches = () => images(2, 1);
  const plain = await run({ taps: used, batches });
  const compared = await run({
    taps: (at) => ({ ...used(at), ...(at.epoch === 0 && { compared: 'previous' }) }),
    batches,
  });
  expect(compared).toEqual(plain);
  const wrong = () => ({ student: ['stream'], teachers: { teacher: [], previous: [] }, compared: 'previous' as const });
  await expect(run({ taps: wrong, batches: () => images(1) })).rejects.toThrow("expected tap 'stream', got none");
});

test('a teacher may be features, known by what comes with the images', async () => {
  const plain = await run({ taps: used, batches: () => images(2, 1) });
  const known: string[] = [];
  const teacher: FeatureSource<Batch> = {
    async features({ images, name }, taps) {
      known.push([name, ...taps].join(' '));
      await Promise.resolve();
      return { embedding: tf.mul(images, 6), taps: {} };
    },
  };
  const batches = () => images(2, 1).map((images, i) => ({ images, name: `batch ${i}` }));
  const { losses, asked } = await run<Batch>({ taps: used, batches, teacher });
  expect(known).toEqual(['batch 0', 'batch 1', 'batch 0', 'batch 1']);
  expect(asked.some((name) => name.startsWith('teacher'))).toBe(false);
  for (const [i, loss] of losses.entries()) expect(loss / plain.losses[i]!).toBeCloseTo(1, 6);
  const failing: FeatureSource<Batch> = { features: () => Promise.reject(new Error('no features')) };
  const one = () => [{ images: images(1)[0]!, name: 'batch' }];
  await expect(run<Batch>({ taps: used, batches: one, teacher: failing })).rejects.toThrow('no features');
});

test('accumulated batches, also of unequal sizes, are one large batch', async () => {
  const parts = images(2, 3, 1);
  const whole = tf.concat(parts);
  const parted = await run({ taps: used, batches: () => parts.map((x) => tf.clone(x)), accumulate: 3, epochs: 1 });
  const together = await run({ taps: used, batches: () => [tf.clone(whole)], epochs: 1 });
  expect(parted.losses[0]! / together.losses[0]!).toBeCloseTo(1, 6);
  for (const [i, w] of parted.weights.entries()) expect(w).toBeCloseTo(together.weights[i]!, 6);
  tf.dispose([parts, whole]);
});

test('no gradient looks at a tensor that is gone', () => {
  const engine = tf.engine();
  const own = engine.runKernel.bind(engine);
  engine.runKernel = ((...args: Parameters<typeof own>) => {
    for (const [name, x] of Object.entries(args[1] as Weights))
      if (x?.isDisposed) throw new Error(`${args[0]}: input '${name}' is gone`);
    return own(...args);
  }) as typeof own;
  try {
    const targets = tf.ones([1, 2, 2]) as tf.Tensor3D;
    const start = tf.fill([1, 3, 2, 2], 0.1);
    const gradient = tf.grad((x) => {
      const logits = tf.tidy(() => tf.mul(x, 2)) as tf.Tensor4D;
      const scores = tf.mean(logits, [2, 3]) as tf.Tensor2D;
      const { total } = maskLoss({ logits, scores, targets });
      tf.dispose([logits, scores]); // as in a loss that tidies
      return total;
    })(start);
    tf.dispose([gradient, start, targets]);
  } finally {
    engine.runKernel = own;
  }
});
