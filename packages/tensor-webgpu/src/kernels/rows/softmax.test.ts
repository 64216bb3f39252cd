import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame } from '../../../test/both-backends.ts';
import { asGpu, backendWithOps, expectOp, values } from '../../../test/ops-testing.ts';

const backend = backendWithOps();

// a sum of up to 4096 exponentials of relative error 1e-6 at most, added in 8 lanes
const tolerance = 1e-5;

/** Softmax or its logarithm over rows of C values, and the gradient, in float64. */
function oracle(x: Float64Array, dy: Float64Array, { C, logarithm }: { C: number; logarithm: boolean }) {
  const output = new Float64Array(x.length);
  const gradient = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += C) {
    const own = x.slice(row, row + C);
    const top = own.reduce((a, b) => Math.max(a, b));
    const total = own.reduce((sum, v) => sum + Math.exp(v - top), 0);
    const y = own.map((v) => Math.exp(v - top) / total);
    const mean = y.reduce((sum, v, i) => sum + v * dy[row + i]!, 0);
    const whole = y.reduce((sum, _, i) => sum + dy[row + i]!, 0);
    y.forEach((v, i) => {
      output[row + i] = logarithm ? own[i]! - top - Math.log(total) : v;
      gradient[row + i] = logarithm ? dy[row + i]! - whole * v : (dy[row + i]! - mean) * v;
    });
  }
  return { output, x: gradient };
}

interface Input {
  readonly shape: readonly number[];
  readonly spread?: number;
  /** Puts extremes among the values. */
  readonly change?: (data: Float64Array) => void;
  readonly logarithm?: boolean;
}

async function check({ shape, spread = 3, change, logarithm = false }: Input): Promise<void> {
  const x = values(shape, 1, spread);
  change?.(x.data);
  const dy = values(shape, 2);
  const expected = oracle(x.data, dy.data, { C: shape.at(-1)!, logarithm });
  const op = logarithm ? tf.logSoftmax : tf.softmax;
  await expectOp(({ x }) => op(x!), { inputs: { x }, dy, expected, tolerance });
}

const sizes = [1, 7, 8, 31, 32, 63, 64, 65, 124, 128, 132, 1021, 4096]; // a turn is 32 values or vectors of 4

describe('softmax and its gradient against float64', () => {
  test.each(sizes)('3 rows of %i', (C) => check({ shape: [3, C] }));
  test.each([1, 7, 64, 65, 1021])('by workgroup memory, as on GPUs: 3 rows of %i', (C) =>
    asGpu(backend(), () => check({ shape: [3, C] })),
  );
  test.each([1, 63, 64])('alone, as on CPUs without subgroups: 3 rows of %i', (C) =>
    asGpu(backend(), () => check({ shape: [3, C] }), { isCpu: true }),
  );
  test('more rows than workgroups, of rank 4', () => check({ shape: [2, 11, 103, 5] }));
  test('one vector', () => check({ shape: [65] }));

  test.each([16, 63, 1021])('large logits: %i', (C) =>
    check({
      shape: [4, C],
      spread: 200,
      change: (data) => {
        data[0] = Math.fround(3e38);
        data[C + 1] = Math.fround(-3e38);
        data.fill(1e4, 2 * C, 3 * C); // equal ones
      },
    }),
  );
  test.each([16, 63, 1021])('masks of -Infinity: %i', (C) =>
    check({
      shape: [3, C],
      change: (data) => {
        data.fill(Number.NEGATIVE_INFINITY, 0, C - 1); // only the last is left
        data.fill(Number.NEGATIVE_INFINITY, C, C + 9); // the first of each lane
        for (let i = 2 * C; i < 3 * C; i += 2) data[i] = Number.NEGATIVE_INFINITY;
      },
    }),
  );
  test.each([7, 64, 1021])('logarithm: %i', (C) => check({ shape: [3, C], logarithm: true }));
});

test('rows of NaN, of nothing but -Infinity, and no rows, as tfjs-backend-cpu', async () => {
  const odd = [1, Number.NaN, 2, 3, ...Array(4).fill(Number.NEGATIVE_INFINITY), 1, 2, 3, 4];
  await expectSame(() => [tf.softmax(tf.tensor2d(odd, [3, 4])), tf.logSoftmax(tf.tensor2d(odd, [3, 4]))]);
  await expectSame(() => tf.softmax(tf.zeros([3, 0])));
  await expectSame(() => tf.softmax(tf.zeros([0, 3])));
});

test('the gradient serves other backends too', async () => {
  await expectSame(() => tf.grad((x) => tf.sum(tf.square(tf.softmax(x))))(tf.tensor2d([1, 2, 3, -4, 5, 6], [2, 3])));
});

test('one dispatch forward, one for the gradient', async () => {
  const x = tf.ones([2, 64]);
  const dy = tf.ones([2, 64]);
  const labels: string[] = [];
  const own = backend();
  const run = own.run;
  own.run = (program, ...rest) => {
    labels.push(program.shader.label);
    return run.call(own, program, ...rest);
  };
  const dx = tf.grad((x) => tf.softmax(x))(x, dy);
  own.run = run;
  expect(labels).toEqual(['softmax', 'softmax gradient']);
  tf.dispose([x, dy, dx]);
});
