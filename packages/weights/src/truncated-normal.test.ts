import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { truncatedNormal } from './truncated-normal.ts';

beforeAll(() => tf.setBackend('cpu'));

const draw = async (count: number, options: { deviation: number; seed: number }): Promise<Float32Array> => {
  const x = truncatedNormal([count], options);
  const values = await x.data<'float32'>();
  x.dispose();
  return values;
};

test('the same numbers on every platform, others for another seed', async () => {
  const first = await draw(5, { deviation: 1, seed: 1 });
  expect(Array.from(new Int32Array(first.buffer))).toEqual([
    -1081828619, 1059842966, -1083486311, 1035450176, -1109325162,
  ]);
  expect(await draw(5, { deviation: 1, seed: 2 })).not.toEqual(first);
  expect(await draw(5, { deviation: 1, seed: 1 + 2 ** 32 })).not.toEqual(first);
  const half = await draw(5, { deviation: 0.5, seed: 1 });
  expect(Array.from(half, (value) => value * 2)).toEqual(Array.from(first));
});

test('the distribution is a normal one without what is beyond two deviations', async () => {
  const count = 400_000;
  const sorted = (await draw(count, { deviation: 0.02, seed: 7 })).sort();
  expect(sorted[0]).toBeGreaterThanOrEqual(-0.0400001);
  expect(sorted.at(-1)).toBeLessThanOrEqual(0.0400001);
  // its distribution function in places, of an independent table (Abramowitz and Stegun 26.2): (P(x) - P(-2)) / (P(2) - P(-2))
  const below = { '-1.5': 0.066807, '-1': 0.158655, '-0.5': 0.308538, '0': 0.5, '0.7': 0.758036, '1.9': 0.971283 };
  for (const [x, P] of Object.entries(below)) {
    const share = sorted.filter((value) => value < Number(x) * 0.02).length / count;
    expect(Math.abs(share - (P - 0.02275) / 0.9545), x).toBeLessThan(3e-3); // 4 deviations of a share of 400,000
  }
  let [sum, squares, neighbours] = [0, 0, 0];
  const values = await draw(count, { deviation: 1, seed: 8 });
  values.forEach((value, i) => {
    sum += value;
    squares += value * value;
    neighbours += value * (values[i + 1] ?? 0);
  });
  expect(Math.abs(sum / count)).toBeLessThan(6e-3);
  expect(squares / count).toBeCloseTo(0.7737, 2); // 1 - 4 p(2) / (P(2) - P(-2))
  expect(Math.abs(neighbours / count)).toBeLessThan(5e-3);
});

test('a table of the size of SAM-B’s weights is drawn fast', () => {
  const start = process.cpuUsage();
  tf.dispose(truncatedNormal([10_000_000], { deviation: 1, seed: 1 }));
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1e6).toBeLessThan(1); // a tenth of SAM-B; 0.06 s where nothing else runs
});
