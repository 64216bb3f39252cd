import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { disposeWeights, recomputed, valueAndGradients, type Weights } from '../src/index.ts';

let backend: WebgpuBackend;
beforeAll(async () => {
  backend = await useWebgpu();
});
afterAll(() => backend.dispose());

let before = 0;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors, 'tensors left over').toBe(before));

const plainly = <T extends Weights>(inputs: Weights, run: (inputs: Weights) => T): T => run(inputs);
const numbers = async (tensors: Weights): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    await Promise.all(Object.entries(tensors).map(async ([name, x]) => [name, [...(await x.data())]])),
  );

/** Two parts in a row; both give intermediates that the loss looks at, one of them an input, one twice. */
function loss({ a, b }: Weights, part: typeof plainly): tf.Scalar {
  const first = part({ x: a!, w: b! }, ({ x, w }) => {
    const hidden = tf.matMul(x!, w!);
    const out = tf.tanh(tf.add(hidden, tf.mul(x!, x!)));
    return { out, again: out, hidden, same: w!, unused: tf.exp(out) };
  });
  const second = part({ x: first.out, w: b!, twice: first.out, apart: a! }, ({ x, w, twice }) => ({
    out: tf.sigmoid(tf.add(tf.matMul(x!, w!), tf.square(twice!))),
    constant: tf.onesLike(x!),
  }));
  const looks = [second.out, second.constant, first.again, tf.square(first.hidden), tf.mul(first.same, 0.5)];
  return tf.addN(looks.map((x) => tf.sum(tf.tidy(() => tf.mul(x, x))))) as tf.Scalar;
}

const make = () => ({ a: tf.tensor2d([1, 2, -3, 0.5], [2, 2]), b: tf.tensor2d([0.25, -1, 0.75, 2], [2, 2]) });

test('values and gradients are those without, by way of valueAndGradients and of tf.grads', async () => {
  const weights = make();
  const expected = valueAndGradients(weights, () => loss(weights, plainly));
  const actual = valueAndGradients(weights, () => loss(weights, recomputed));
  const [a, b] = tf.grads((a: tf.Tensor, b: tf.Tensor) => loss({ a, b }, recomputed))([weights.a, weights.b]);
  const alone = tf.tidy(() => loss(weights, recomputed));
  const values = await numbers({ ours: actual.value, theirs: expected.value, alone });
  expect([values.ours, values.alone]).toEqual([values.theirs, values.theirs]);
  const wanted = await numbers(expected.gradients);
  for (const got of [await numbers(actual.gradients), await numbers({ a: a!, b: b! })])
    for (const [name, values] of Object.entries(wanted)) {
      const errors = values.map((x, i) => Math.abs(x - got[name]![i]!));
      expect(Math.max(...errors), name).toBeLessThan(1e-6 * Math.max(...values.map(Math.abs)));
    }
  tf.dispose([weights, expected.value, actual.value, expected.gradients, actual.gradients, a!, b!, alone]);
});

test('parts within parts', async () => {
  const weights = make();
  const cube = (part: typeof plainly) => (x: tf.Tensor) =>
    part({ x }, ({ x }) => ({ y: part({ x: x! }, ({ x }) => ({ y: tf.mul(x!, tf.square(x!)) })).y! })).y!;
  const { value, gradients } = valueAndGradients(
    weights,
    () => tf.sum(tf.tanh(cube(recomputed)(weights.a))) as tf.Scalar,
  );
  const theirs = tf.grad((x) => tf.sum(tf.tanh(cube(plainly)(x))))(weights.a);
  expect((await numbers(gradients)).a).toEqual([...(await theirs.data())]);
  tf.dispose([weights, value, gradients, theirs]);
});

test('what fails leaves no tensor: at first, and when it runs again', () => {
  const a = tf.tensor1d([1, 2]);
  let runs = 0;
  const failing = (at: number) => () =>
    valueAndGradients({ a }, () => {
      const { y } = recomputed({ a }, ({ a }) => {
        const y = tf.exp(tf.square(a!));
        if (++runs === at) throw new Error(`run ${at}`);
        return { y };
      });
      return tf.sum(y) as tf.Scalar;
    });
  expect(failing(1)).toThrow('run 1');
  runs = 0;
  expect(failing(2)).toThrow('run 2');
  expect(tf.engine().state.gradientDepth).toBe(0);
  const square = (x: tf.Tensor) => tf.sum(recomputed({ x }, ({ x }) => ({ y: tf.square(x!) })).y) as tf.Scalar;
  const second = () => valueAndGradients({ a }, () => tf.sum(tf.grad(square)(a)) as tf.Scalar);
  expect(second).toThrow('expected one differentiation, got one within another');
  a.dispose();
});

test('eight parts of ten ops hold the intermediates of one', () => {
  const a = tf.fill([1000], 0.5);
  const chain = (part: typeof plainly) => () => {
    let x: tf.Tensor = a;
    for (let i = 0; i < 8; i++)
      x = part({ x }, ({ x }) => {
        let y = x!;
        for (let k = 0; k < 10; k++) y = tf.sigmoid(y);
        return { y };
      }).y!;
    return tf.mean(x) as tf.Scalar;
  };
  const most = (part: typeof plainly): number => {
    let most = 0;
    const run = backend.run.bind(backend);
    backend.run = (...args) => {
      const made = run(...args);
      most = Math.max(most, backend.memory().numBytesInGPU / 4096);
      return made;
    };
    const { value, gradients } = valueAndGradients({ a }, chain(part));
    backend.run = run;
    value.dispose();
    disposeWeights(gradients);
    return most;
  };
  expect(most(plainly)).toBeGreaterThan(80);
  expect(most(recomputed)).toBeLessThan(8 + 10 + 8);
  a.dispose();
});
