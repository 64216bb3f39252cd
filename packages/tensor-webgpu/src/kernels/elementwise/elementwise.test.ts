import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, integers, openedBackend, spread } from '../../../test/both-backends.ts';

openedBackend();

const special = () => tf.tensor([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1, -1.5, 2.5]);
const leaky = (x: tf.Tensor) => tf.leakyRelu(x, 0.3);

describe('unary', () => {
  const smooth = { exp: tf.exp, expm1: tf.expm1, sigmoid: tf.sigmoid, tanh: tf.tanh, erf: tf.erf, sin: tf.sin };
  const more = { cos: tf.cos, tan: tf.tan, softplus: tf.softplus, elu: tf.elu, selu: tf.selu, square: tf.square };
  const sharp = { neg: tf.neg, abs: tf.abs, sign: tf.sign, relu: tf.relu, relu6: tf.relu6, leaky };
  const steps = { floor: tf.floor, ceil: tf.ceil, round: tf.round, reciprocal: tf.reciprocal };
  const ops: Record<string, (x: tf.Tensor) => tf.Tensor> = { ...smooth, ...more, ...sharp, ...steps };
  test.each(Object.entries(ops))('%s', async (_name, op) => {
    await expectSame(() => [op(spread([7, 13], { scale: 8 })), op(spread([], { seed: 3 })), op(spread([0, 3]))]);
  });

  test.each(Object.entries({ log: tf.log, log1p: tf.log1p, sqrt: tf.sqrt, rsqrt: tf.rsqrt }))(
    '%s of positive numbers, 0 and infinity',
    async (_name, op) => {
      await expectSame(() => [op(tf.abs(spread([5, 7]))), op(tf.tensor([0, Number.POSITIVE_INFINITY, 1e-3]))]);
    },
  );

  const hyperbolic = { sinh: tf.sinh, cosh: tf.cosh, atan: tf.atan, asinh: tf.asinh };
  const inverse = { asin: tf.asin, acos: tf.acos, atanh: tf.atanh, acosh: tf.acosh };
  test.each(Object.entries({ ...hyperbolic, ...inverse }))('%s: large, small, beyond its domain', async (_name, op) => {
    await expectSame(() => [op(spread([7, 13], { scale: 1 })), op(spread([0, 3]))]);
    await expectSame(() => op(tf.tensor([0, 1e-3, -1e-3, 0.1, 1, -1, 1.001, -4, 30, -30, Number.NaN])), 2e-5);
  });

  test('sinh, asinh and atanh of small numbers to 1e-6 of their size; sinh and cosh up to the largest float', async () => {
    const values = [1e-4, 1e-2, 0.019, 0.021, 0.199, 0.201];
    for (const [op, exact] of [
      [tf.sinh, Math.sinh],
      [tf.asinh, Math.asinh],
      [tf.atanh, Math.atanh],
    ] as const) {
      const ratios = await tf.div(op(tf.tensor(values)), tf.tensor(values.map(exact))).data();
      for (const ratio of ratios) expect(ratio).toBeCloseTo(1, 5);
    }
    const large = await tf.div(tf.concat([tf.sinh([89, -89]), tf.cosh([89])]), Math.sinh(89)).data();
    [1, -1, 1].forEach((ratio, i) => {
      expect(large[i]).toBeCloseTo(ratio, 4);
    });
  });

  test('exp to 2e-7 of its size, from the smallest float to infinity', async () => {
    const values = Float32Array.from({ length: 1777 }, (_, i) => -87 + i * 0.0985);
    const got = await tf.exp(tf.tensor1d(values)).data();
    values.forEach((value, i) => {
      expect(Math.abs(got[i]! / Math.exp(value) - 1), `exp(${value})`).toBeLessThan(2e-7); // 1.5 units in the last place
    });
    const ends = await tf.exp(tf.tensor1d([-104, -1e38, Number.NEGATIVE_INFINITY, 89, 1e38, Number.NaN])).data();
    expect([...ends].map((end) => (end < 1e-37 ? 0 : end))).toEqual([0, 0, 0, Infinity, Infinity, Number.NaN]);
  });

  test('half to even, halves and negatives', async () => {
    await expectSame(() => tf.round(tf.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])));
  });

  test('erf to 1e-6 and small arguments to 1e-6 of their size', async () => {
    await expectSame(() => tf.erf(spread([1001], { scale: 4 })), 1e-6);
    const small = await tf.div(tf.erf(tf.tensor([1e-3, -1e-5])), tf.tensor([1e-3, -1e-5])).data();
    for (const ratio of small) expect(ratio).toBeCloseTo(1.1283791, 5);
  });

  test('NaN and infinities', async () => {
    for (const op of [tf.isNaN, tf.isInf, tf.isFinite]) await expectSame(() => op(special()));
    for (const op of [tf.relu, tf.relu6, tf.abs, tf.exp, tf.sigmoid, tf.neg, tf.square, tf.sqrt, leaky])
      await expectSame(() => op(special()));
    await expectSame(() => [tf.clipByValue(special(), -1, 2), tf.step(special(), 0.25)]);
    await expectSame(() => tf.tanh(tf.tensor([100, -100, Number.POSITIVE_INFINITY])));
  });

  test('integers and bools', async () => {
    const x = () => integers([3, 5]);
    await expectSame(() => [tf.abs(x()), tf.neg(x()), tf.sign(x()), tf.relu(x()), tf.clipByValue(x(), -3, 4)]);
    await expectSame(() => [tf.logicalNot(tf.greater(x(), 0)), tf.square(x()), tf.step(x())]);
  });

  test('cast', async () => {
    const values = () => tf.tensor([-2.9, -0.5, 0, 0.5, 2.9, 7]);
    await expectSame(() => [tf.cast(values(), 'int32'), tf.cast(values(), 'bool')]);
    await expectSame(() => {
      const truth = tf.greater(values(), 0);
      return [tf.cast(truth, 'int32'), tf.cast(truth, 'float32'), tf.cast(integers([5]), 'float32'), tf.clone(truth)];
    });
    await expectSame(() => tf.cast(integers([9], { scale: 2 }), 'bool'));
  });
});

describe('binary', () => {
  const shapes: [string, number[], number[]][] = [
    ['the same', [5, 7], [5, 7]],
    ['a scalar', [40, 31], []],
    ['a row', [3, 5, 8], [8]],
    ['an odd row', [3, 7], [7]],
    ['a column', [6, 4], [6, 1]],
    ['each other', [4, 1, 3], [2, 1]],
    ['six dimensions', [2, 1, 3, 1, 2, 4], [1, 3, 1, 2, 1, 4]],
    ['none', [0, 3], [3]],
  ];
  test.each(shapes)('with %s', async (_name, a, b) => {
    await expectSame(() => [tf.add(spread(a), spread(b, { seed: 2 })), tf.sub(spread(b, { seed: 2 }), spread(a))]);
  });

  const ops = { mul: tf.mul, div: tf.div, maximum: tf.maximum, minimum: tf.minimum, mod: tf.mod, atan2: tf.atan2 };
  const rest = { squaredDifference: tf.squaredDifference, floorDiv: tf.floorDiv, divNoNan: tf.divNoNan };
  test.each(Object.entries({ ...ops, ...rest }))('%s', async (_name, op) => {
    await expectSame(() => op(spread([5, 8]), spread([5, 8], { seed: 2, scale: 3 })));
  });

  test('pow: negative bases, whole and broken exponents, integers', async () => {
    await expectSame(() => tf.pow(tf.tensor([-2, -2, -2, 2, 0, 3, -8]), tf.tensor([2, 3, 0.5, -1, 0, 2.5, 0])));
    await expectSame(() => tf.pow(tf.tensor1d([2, -3, 7], 'int32'), tf.tensor1d([5, 3, 2], 'int32')));
    await expectSame(() => tf.pow(spread([9]), 2));
  });

  test('integers', async () => {
    const pair = () => [integers([4, 6]), tf.add(integers([6], { seed: 5 }), 30)] as const;
    for (const op of [tf.add, tf.sub, tf.mul, tf.div, tf.floorDiv, tf.mod, tf.maximum, tf.squaredDifference])
      await expectSame(() => op(...pair()));
  });

  test('whole numbers are divided as such, also beyond 2^24, and floats with their remainder', async () => {
    const large = [2147483647, 2147483646, -2147483647, 16777217, -16777217, 99999999, 7, -7, 0];
    const by = [2, 2147483646, 3, 16777216, 2, -10, -2, 2, 5];
    const whole = (list: number[]) => tf.tensor(list, [list.length], 'int32');
    const many = (list: number[]) => whole(Array.from({ length: 8 }, () => list).flat()); // no longer computed on the CPU
    const ofFloats = (a: number, b: number) => [tf.floorDiv(tf.fill([65], a), b), tf.mod(tf.fill([65], a), b)] as const;
    const of = async (x: tf.Tensor) => Array.from((await x.data()).slice(0, large.length));
    await tf.setBackend('slimsam-webgpu');
    const quotients = large.map((a, i) => Math.floor(a / by[i]!));
    const rests = large.map((a, i) => a - by[i]! * Math.floor(a / by[i]!));
    expect(await of(tf.floorDiv(many(large), many(by)))).toEqual(quotients);
    expect(await of(tf.mod(many(large), many(by)))).toEqual(rests);
    for (let b = 1; b < 50; b++) {
      const [quotient, rest] = ofFloats(49 * b, b); // a quotient just below a whole number would be one less
      expect((await quotient.data())[0]).toBe(49);
      expect((await rest.data())[0]).toBe(0);
    }
    const least = (await ofFloats(-1e-9, 1)[1].data())[0]!;
    expect(least).toBeGreaterThanOrEqual(0);
    expect(least).toBeLessThan(1); // never the divisor itself
  });

  test('NaN in maximum and minimum', async () => {
    const other = () => tf.reverse(special());
    await expectSame(() => [tf.maximum(special(), other()), tf.minimum(special(), other())]);
    await expectSame(() => [tf.maximum(special(), 1), tf.minimum(1, special())]);
  });

  test('comparisons and logic', async () => {
    for (const op of [tf.equal, tf.notEqual, tf.greater, tf.greaterEqual, tf.less, tf.lessEqual]) {
      await expectSame(() => [op(special(), tf.reverse(special())), op(special(), special())]);
      await expectSame(() => op(integers([5, 5], { scale: 2 }), integers([5], { seed: 2, scale: 2 })));
    }
    await expectSame(() => [tf.greater(special(), 0), tf.equal(special(), special())]);
    const truth = (seed: number) => tf.greater(spread([5, 4], { seed }), 0);
    await expectSame(() => [tf.logicalAnd(truth(1), truth(2)), tf.logicalOr(truth(1), truth(2))]);
  });

  test('where, prelu, addN', async () => {
    const truth = (shape: number[]) => tf.greater(spread(shape, { seed: 4 }), 0);
    await expectSame(() => tf.where(truth([5, 3]), spread([5, 3]), spread([5, 3], { seed: 2 })));
    await expectSame(() => tf.where(truth([5, 1]), spread([3]), 0));
    await expectSame(() => tf.where(truth([5]), integers([4, 5]), integers([5], { seed: 2 })));
    await expectSame(() => tf.prelu(spread([3, 5]), spread([5], { seed: 2 })));
    for (const count of [1, 2, 5, 8])
      await expectSame(() => tf.addN(Array.from({ length: count }, (_, seed) => spread([3, 5], { seed: seed + 1 }))));
  });

  test('a scalar known on the CPU, in floats, on either side of a large tensor', async () => {
    const x = () => spread([50, 41]);
    await expectSame(() => [tf.mul(x(), 0.125), tf.sub(1, x()), tf.div(1, tf.add(x(), 4)), tf.greater(x(), 0.5)]);
  });
});

test('gradients', async () => {
  const of = (f: (x: tf.Tensor) => tf.Tensor, shape = [5, 7]) =>
    expectSame(() => tf.grad((x) => tf.sum(tf.mul(f(x), spread(f(x).shape, { seed: 9 }))))(spread(shape)));
  for (const f of [tf.exp, tf.tanh, tf.sigmoid, tf.erf, tf.relu, tf.elu, tf.abs, tf.square, tf.softplus, tf.sin])
    await of(f);
  await of((x) => tf.sqrt(tf.add(tf.square(x), 1)));
  await of((x) => tf.rsqrt(tf.add(tf.square(x), 1)));
  await of((x) => tf.pow(tf.abs(x), 1.5));
  await of((x) => tf.where(tf.greater(spread([5, 7], { seed: 3 }), 0), tf.square(x), x));
  await of((x) => tf.clipByValue(x, -1, 1));
  for (const op of [tf.add, tf.sub, tf.mul, tf.div])
    await expectSame(() =>
      tf.grads((a, b) => tf.sum(tf.square(op(a!, tf.add(tf.square(b!), 1)))))([
        spread([4, 3, 5]),
        spread([3, 1], { seed: 2 }),
      ]),
    );
  await of((x) => tf.maximum(x, spread([5, 7], { seed: 3 })));
  await of((x) => tf.squaredDifference(x, spread([5, 7], { seed: 3 })));
  await of((x) => tf.minimum(x, spread([5, 7], { seed: 3 })));
});

test('bitwise and', async () => {
  const bits = (seed: number) => tf.cast(integers([3, 37], { seed, scale: 1000 }), 'int32');
  await expectSame(() => tf.bitwiseAnd(bits(1), bits(2)));
});
