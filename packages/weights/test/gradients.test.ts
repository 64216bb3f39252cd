import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { disposeWeights, valueAndGradients, type Weights } from '../src/index.ts';

let backend: WebgpuBackend;
beforeAll(async () => {
  backend = await useWebgpu();
});
afterAll(() => backend.dispose());

let before = 0;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

const numbers = async (x: tf.Tensor) => [...(await x.data())];

/** What TensorFlow.js's own differentiation gives, beside ours: the loss, and the gradients. */
async function bothWays(weights: Weights, loss: () => tf.Scalar): Promise<[expected: number[][], actual: number[][]]> {
  const ours = valueAndGradients(weights, loss);
  const names = Object.keys(weights);
  const theirs = tf.engine().gradients(
    loss,
    names.map((name) => weights[name]!),
  );
  const expected = await Promise.all([theirs.value, ...theirs.grads].map(numbers));
  const actual = await Promise.all([ours.value, ...names.map((name) => ours.gradients[name]!)].map(numbers));
  tf.dispose([ours.value, theirs.value, theirs.grads]);
  disposeWeights(ours.gradients);
  return [expected, actual];
}

const pass = tf.customGrad((x) => ({ value: tf.square(x as tf.Tensor), gradFunc: (dy) => dy }));
const losses: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Scalar> = {
  'an input twice': (a, b) => tf.sum(tf.mul(tf.mul(a, a), tf.add(b, b))),
  'many uses of one intermediate': (a, b) => {
    const c = tf.matMul(a, b);
    return tf.sum(tf.add(tf.mul(c, tf.exp(c)), tf.add(c, c)));
  },
  'outputs of which one is not used': (a, b) => {
    const [first, , last] = tf.split(tf.concat([a, b, a]), 3) as [tf.Tensor, tf.Tensor, tf.Tensor];
    return tf.sum(tf.mul(first, tf.square(last)));
  },
  'gradients that are their argument': (a, b) => tf.sum(tf.clone(tf.add(pass(a), tf.clone(pass(b))))),
  'a gradient within': (a, b) => tf.sum(tf.mul(b, tf.grad((x) => tf.sum(tf.pow(x, 3)))(a))),
  'a part that leads nowhere': (a, b) => {
    tf.exp(tf.matMul(a, b));
    return tf.mean(tf.mul(a, tf.sigmoid(b)));
  },
};
for (const [name, loss] of Object.entries(losses))
  test(`gradients equal TensorFlow.js's: ${name}`, async () => {
    const weights = { a: tf.tensor2d([1, 2, -3, 0.5], [2, 2]), b: tf.tensor2d([0.25, -1, 0.75, 2], [2, 2]) };
    const [expected, actual] = await bothWays(weights, () => loss(weights.a, weights.b));
    expect(actual).toEqual(expected);
    disposeWeights(weights);
  });

test('tied weights get equal gradients, a weight out of reach none, and one may be the loss', async () => {
  const a = tf.scalar(3);
  const far = tf.scalar(1);
  const { value, gradients } = valueAndGradients({ a, tied: a, far }, () => tf.square(a));
  expect(Object.keys(gradients)).toEqual(['a', 'tied']);
  expect(await Promise.all(Object.values(gradients).map(numbers))).toEqual([[6], [6]]);
  const itself = valueAndGradients({ a }, () => a);
  expect([await numbers(itself.value), await numbers(itself.gradients.a!)]).toEqual([[3], [1]]);
  tf.dispose([value, itself.value]);
  disposeWeights(gradients);
  disposeWeights(itself.gradients);
  expect(a.isDisposed).toBe(false);
  tf.dispose([a, far]);
});

test('what fails, in the loss or on the way back, leaves no tensor and lets the next one run', async () => {
  const a = tf.tensor1d([1, 2]);
  const run = (loss: () => tf.Tensor) => () => valueAndGradients({ a }, loss as () => tf.Scalar);
  const broken = tf.customGrad((x, save) => {
    (save as tf.GradSaveFunc)([x as tf.Tensor]);
    return {
      value: tf.square(x as tf.Tensor),
      gradFunc: () => {
        throw new Error('no way back');
      },
    };
  });
  expect(run(() => tf.square(a))).toThrow('valueAndGradients: expected a scalar loss, got shape [2]; take a mean');
  expect(run(() => tf.sum(broken(tf.exp(a))))).toThrow('no way back');
  expect(
    run(() => {
      tf.exp(tf.square(a));
      throw new Error('no way on');
    }),
  ).toThrow('no way on');
  expect(run(() => tf.scalar(1))).toThrow('expected a loss that depends on a weight');
  expect(run(() => valueAndGradients({ a }, () => tf.sum(a)).value)).toThrow('expected no differentiation under way');
  const { value, gradients } = valueAndGradients({ a }, () => tf.sum(tf.square(a)));
  expect(await numbers(gradients.a!)).toEqual([2, 4]);
  tf.dispose([value, gradients.a!, a]);
});

test('the tape of another tfjs-core is one error, before the loss runs, and a right one is looked at once', async () => {
  const a = tf.scalar(3);
  vi.resetModules();
  const fresh = await import('../src/gradients.ts');
  const engine = tf.engine();
  const push: unknown = Reflect.get(engine, 'addTapeNode');
  const put = (by: unknown) => Reflect.set(engine, 'addTapeNode', by);
  put(() => undefined); // as a tfjs-core would that has its tape elsewhere
  let ran = false;
  const loss = () => {
    ran = true;
    return tf.square(a);
  };
  expect(() => fresh.valueAndGradients({ a }, loss)).toThrow(
    /tape of @tensorflow\/tfjs-core 4\.22 .*; install @tensorflow\/tfjs-core ~4\.22\.0/,
  );
  expect(ran).toBe(false);
  let nodes = 0;
  put((...node: unknown[]) => {
    nodes++;
    return Reflect.apply(push as () => void, engine, node);
  });
  const counts = [1, 2].map(() => {
    nodes = 0;
    const { value, gradients } = fresh.valueAndGradients({ a }, loss);
    tf.dispose([value, gradients.a!]);
    return nodes;
  });
  Reflect.deleteProperty(engine, 'addTapeNode'); // the class has it
  expect(counts[0]! - counts[1]!).toBe(1); // the one that is looked at
  a.dispose();
});

/** The most that lives at once in `differentiate`, as multiples of one tensor. */
function most(tensor: tf.Tensor, differentiate: () => void): number {
  let most = 0;
  const run = backend.run.bind(backend);
  backend.run = (...args) => {
    const made = run(...args);
    most = Math.max(most, backend.memory().numBytesInGPU / tensor.size / 4);
    return made;
  };
  tf.tidy(differentiate);
  backend.run = run;
  return most;
}

test('a chain of 40 ops holds what it saved and two gradients, not forty', () => {
  const a = tf.fill([1000], 0.5);
  const chain = () => {
    let x: tf.Tensor = a;
    for (let i = 0; i < 40; i++) x = tf.sigmoid(x);
    return tf.mean(x) as tf.Scalar;
  };
  expect(most(a, () => void valueAndGradients({ a }, chain))).toBeLessThan(50);
  expect(most(a, () => void tf.grads(chain)([a]))).toBeGreaterThan(80);
  a.dispose();
});

test('a loss that looks at 40 intermediates holds the gradients of a few, and moves and sums save nothing', () => {
  const a = tf.fill([1000], 0.5);
  const moved = (x: tf.Tensor) =>
    tf.tidy(() => {
      const turned = tf.reverse(
        tf.pad(tf.reshape(x, [10, 100]), [
          [0, 0],
          [0, 1],
        ]),
      );
      return tf.add(tf.reshape(tf.slice(turned, [0, 1], [10, 100]), [1000]), 1);
    });
  const looking = () => {
    const terms: tf.Tensor[] = [];
    let x: tf.Tensor = a;
    for (let i = 0; i < 40; i++) {
      x = moved(x);
      terms.push(tf.mean(tf.tidy(() => tf.mul(x, 2))));
    }
    return tf.addN(terms) as tf.Scalar;
  };
  expect(most(a, () => void valueAndGradients({ a }, looking))).toBeLessThan(100);
  expect(most(a, () => void tf.grads(looking)([a]))).toBeGreaterThan(400);
  a.dispose();
});
