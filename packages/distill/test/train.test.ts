import '@slimsam/tensor-webgpu/ops';
import '@tensorflow/tfjs-backend-cpu';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { adam, type LossParts, type Optimizer, type TrainingStep, type TrainOptions, train } from '../src/index.ts';

beforeAll(() => tf.setBackend('cpu'));
let live = 0;
beforeEach(() => {
  live = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors, 'tensors left over').toBe(live));

type Options = TrainOptions<tf.Tensor1D, undefined>;

/** Plain gradient descent, whose steps one can reckon. */
const descent: Optimizer = {
  init: () => ({ step: 0, m: {}, v: {} }),
  update: ({ weights, gradients, state }, learningRate) => ({
    weights: Object.fromEntries(
      Object.entries(weights).map(([name, w]) => [name, tf.sub(w, tf.mul(gradients[name]!, learningRate))]),
    ),
    state: { ...state, step: state.step + 1 },
  }),
};

/** mean((a x + b)^2), by default for one epoch of x = 1, 2, 3, 4, one a batch. */
async function run(changes: Partial<Options>, body: (step: TrainingStep) => void | Promise<void> = () => {}) {
  const weights = changes.weights ?? { a: tf.scalar(1), b: tf.scalar(0) };
  let last: TrainingStep | undefined;
  const steps: { position: string; loss: number; learningRate: number; a: number; b: number }[] = [];
  try {
    for await (const step of train<tf.Tensor1D>({
      weights,
      loss: ({ weights, batch }) => {
        const square = tf.mean(tf.square(tf.add(tf.mul(batch, weights.a!), weights.b!))) as tf.Scalar;
        return { total: square, parts: { square } };
      },
      optimizer: descent,
      learningRate: 0.1,
      *batches(_, startBatch) {
        for (let x = startBatch + 1; x <= 4; x++) yield tf.tensor1d([x]);
      },
      epochs: 1,
      ...changes,
    })) {
      last = step;
      const { epoch, batch, step: count } = step.position;
      const [a, b] = [(await step.weights.a!.data())[0]!, (await step.weights.b!.data())[0]!];
      steps.push({ position: `${epoch}.${batch}.${count}`, loss: step.loss, learningRate: step.learningRate, a, b });
      await body(step);
    }
    tf.dispose({ ...last!.weights }); // a run that has not failed leaves its last weights to us
  } finally {
    tf.dispose(weights);
  }
  return steps;
}

test('positions, losses and steps; the weights given are not changed', async () => {
  const steps = await run({ learningRate: 0 });
  expect(steps.map(({ position }) => position)).toEqual(['0.1.1', '0.2.2', '0.3.3', '1.0.4']);
  expect(steps.map(({ loss }) => loss)).toEqual([1, 4, 9, 16]);
  const first = await run({ epochs: 2, learningRate: ({ step }) => 0.1 / (step + 1) });
  expect(first).toHaveLength(8);
  expect(first[0]).toMatchObject({ learningRate: 0.1 });
  expect(first[0]!.a).toBeCloseTo(1 - 0.1 * 2); // da = 2 (a x + b) x
  expect(first[1]!.learningRate).toBeCloseTo(0.05);
});

test('accumulated gradients are those of one larger batch, also for the rest at the end of an epoch', async () => {
  const parted = await run({ accumulate: 3 });
  expect(parted.map(({ position }) => position)).toEqual(['0.3.1', '1.0.2']);
  expect(parted.map(({ loss }) => loss)[0]).toBeCloseTo(14 / 3);
  const together = await run({ batches: () => [tf.tensor1d([1, 2, 3]), tf.tensor1d([4])] });
  parted.forEach((step, i) => {
    expect(step.a).toBeCloseTo(together[i]!.a, 5);
    expect(step.b).toBeCloseTo(together[i]!.b, 5);
  });
});

test('accumulated batches count by their sizes where these are told', async () => {
  const sizes = [3, 1, 2];
  const batches = () => sizes.map((size, i) => tf.fill([size], i + 1) as tf.Tensor1D);
  const sizeOf = (batch: tf.Tensor1D) => batch.size;
  const [parted] = await run({ accumulate: 3, batches, sizeOf });
  const [together] = await run({ batches: () => [tf.tensor1d([1, 1, 1, 2, 3, 3])] });
  for (const key of ['loss', 'a', 'b'] as const) expect(parted![key]).toBeCloseTo(together![key], 5);
  const [alike] = await run({ accumulate: 3, batches });
  expect(alike!.loss).toBeCloseTo((1 + 4 + 9) / 3, 5);
});

test('the last weights are the caller’s once the loop has ended', async () => {
  const weights = { a: tf.scalar(1), b: tf.scalar(0) };
  let slim: Weights = {};
  const seen: Weights[] = [];
  for await (const step of train<tf.Tensor1D>({
    weights,
    loss: ({ weights, batch }) => ({ total: tf.mean(tf.mul(batch, weights.a!)) as tf.Scalar, parts: {} }),
    trainable: (name) => name === 'a',
    optimizer: descent,
    batches: () => [tf.tensor1d([1]), tf.tensor1d([2])],
    epochs: 2,
    learningRate: 1,
  })) {
    slim = step.weights;
    seen.push(slim);
  }
  expect(seen.map(({ a }) => a!.isDisposed)).toEqual([true, true, true, false]);
  expect([(await slim.a!.data())[0], (await slim.b!.data())[0]]).toEqual([1 - 6, 0]);
  tf.dispose([weights, { ...slim }]);
});

test('frozen weights stay, and a weight that the loss does not reach gets a zero gradient', async () => {
  const weights = { a: tf.scalar(1), b: tf.scalar(0.5), apart: tf.scalar(7) };
  const steps = await run({ weights, trainable: (name) => name !== 'b', optimizer: adam() }, async ({ state }) => {
    expect(Object.keys(state.optimizer.m)).toEqual(['a', 'apart']);
    expect((await state.weights.apart!.data())[0]).toBe(7);
  });
  expect(steps.every(({ b }) => b === 0.5)).toBe(true);
  expect(steps.at(-1)!.a).toBeLessThan(1);
});

test('goes on from a state in the middle of an epoch, which may be disposed of once it has begun', async () => {
  const whole = await run({ epochs: 2, optimizer: adam() });
  let resume: Options['resume'];
  await run({ epochs: 2, optimizer: adam() }, ({ state }) => {
    if (state.position.step !== 3) return;
    const copy = (table: tf.NamedTensorMap) =>
      Object.fromEntries(Object.entries(table).map(([name, x]) => [name, tf.clone(x)]));
    const { m, v, step } = state.optimizer;
    resume = {
      weights: copy(state.weights),
      optimizer: { m: copy({ ...m }), v: copy({ ...v }), step },
      position: state.position,
    };
  });
  const rest = await run({ epochs: 2, optimizer: adam(), resume }, () =>
    tf.dispose([resume!.weights, resume!.optimizer.m, resume!.optimizer.v]),
  );
  expect(rest).toEqual(whole.slice(3));
});

test('an abort, from within or without the loop, throws the signal’s reason', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const steps: string[] = [];
  const aborted = run({ signal: controller.signal }, ({ position }) => {
    steps.push(`${position.step}`);
    if (position.step === 2) controller.abort(reason);
  });
  await expect(aborted).rejects.toBe(reason);
  expect(steps).toEqual(['1', '2']);
  await expect(run({ signal: controller.signal })).rejects.toBe(reason);
});

test('leaving the loop ends the batches', async () => {
  let ended = false;
  const weights = { a: tf.scalar(1), b: tf.scalar(0) };
  async function* batches() {
    try {
      for (let x = 1; ; x++) yield tf.tensor1d([x]);
    } finally {
      ended = true;
    }
  }
  const loss: Options['loss'] = ({ weights, batch }) => ({ total: tf.mean(tf.mul(batch, weights.a!)), parts: {} });
  let slim: Weights = {};
  for await (const step of train<tf.Tensor1D>({
    weights,
    loss,
    optimizer: adam(),
    batches,
    epochs: 1,
    learningRate: 1,
  })) {
    slim = step.weights;
    if (step.position.step === 2) break;
  }
  expect(ended).toBe(true);
  expect((await slim.a!.data())[0]).toBeCloseTo(1 - 2, 1); // two steps of Adam
  tf.dispose([weights, { ...slim }]);
});

test('a loss that is not a number names the step and the parts', async () => {
  const batches = () => [tf.tensor1d([1]), tf.tensor1d([Number.NaN])];
  await expect(run({ batches })).rejects.toThrow(/expected a finite loss at step 1, got NaN \(square NaN\)/);
  await expect(run({ batches, accumulate: 2 })).rejects.toThrow(/at step 0, got NaN/);
});

test('a failing loss or optimizer leaves nothing behind', async () => {
  const failure = () => {
    throw new Error('no');
  };
  const batches = () => [tf.tensor1d([1])];
  const loss: Options['loss'] = ({ weights, batch }) => {
    tf.square(tf.mul(batch, weights.a!)); // saves tensors for a backward pass that does not come
    return failure();
  };
  await expect(run({ batches, loss })).rejects.toThrow('no');
  await expect(run({ batches, optimizer: { ...descent, update: failure } })).rejects.toThrow('no');
  await expect(run({ batches, learningRate: failure })).rejects.toThrow('no');
});

test.each([Number.NaN, -1, Number.POSITIVE_INFINITY])(
  'a learning rate of %d is refused, at the start or at its step',
  async (rate) => {
    const said = `expected a learning rate of 0 or more at step`;
    let begun = false;
    const batches = () => {
      begun = true;
      return [tf.tensor1d([1]), tf.tensor1d([2])];
    };
    await expect(run({ batches, learningRate: rate })).rejects.toThrow(`${said} 0, got ${rate}`);
    expect(begun).toBe(false);
    const later = ({ step }: { step: number }) => (step === 0 ? 0.1 : rate);
    await expect(run({ batches, learningRate: later })).rejects.toThrow(`${said} 1, got ${rate}`);
  },
);

test('bad options are refused', async () => {
  await expect(run({ epochs: 0.5 })).rejects.toThrow('expected epochs to be 1, 2, …, got 0.5');
  await expect(run({ accumulate: 0 })).rejects.toThrow('expected accumulate to be 1, 2, …, got 0');
  await expect(run({ trainable: () => false })).rejects.toThrow('expected a weight that is trainable, got none');
  await expect(run({ batches: () => [] })).rejects.toThrow('expected at least one batch in epoch 0 from batch 0 on');
  const resume = { weights: {}, optimizer: { step: 0, m: {}, v: {} }, position: { epoch: 0, batch: 0, step: 0 } };
  await expect(run({ resume })).rejects.toThrow("expected resume to have the weight 'a' [], got none");
  for (const position of [{ ...resume.position, epoch: Number.NaN }, { ...resume.position, batch: -1 }, undefined])
    await expect(run({ resume: { ...resume, position } as Options['resume'] })).rejects.toThrow(
      /expected resume to have position\.(epoch|batch) 0, 1, …, got (NaN|-1|undefined)/,
    );
  await expect(run({ resume: {} as Options['resume'] })).rejects.toThrow('expected resume to have position.epoch');
  const noTotal: Options['loss'] = () => ({ parts: {} }) as LossParts;
  await expect(run({ loss: noTotal })).rejects.toThrow('expected the loss to give { total, parts } of scalars, got no');
});
