import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { openedBackend, spread } from '../../test/both-backends.ts';
import { chromeTrace, type Profile, profile, profileTable } from '../index.ts';

const opened = openedBackend();

/** relu(x x) x with its result read twice: four dispatches, a pause between them, a buffer used again. */
async function work(): Promise<number[]> {
  const x = tf.tensor2d(
    Float32Array.from({ length: 16_900 }, (_, i) => Math.sin(i)),
    [130, 130],
  );
  const first = tf.tidy(() => tf.relu(tf.matMul(x, x)));
  const some = (await first.data())[7]!;
  const second = tf.tidy(() => tf.neg(tf.matMul(first, x)));
  const values = [some, ...(await second.data())];
  tf.dispose([x, first, second]);
  return values;
}

test.each(['timestamp-query', 'cpu'] as const)(
  'every dispatch by the clock %s, with unchanged results',
  async (clock) => {
    const expected = await work();
    let got: number[] = [];
    const report = await profile(opened(), async () => (got = await work()), { clock });
    expect(got).toEqual(expected);
    expect(report.clock).toBe(clock);
    expect(report.dispatches.map(({ label }) => label.replace(/-.*/, ''))).toEqual(['matmul', 'Relu', 'matmul', 'Neg']);
    const [matmul, relu] = report.dispatches;
    expect(matmul!.flops).toBe(2 * 130 ** 3);
    expect(matmul!.bytes).toBe(3 * 4 * 130 ** 2);
    expect(relu!.bytes).toBe(2 * 4 * 130 ** 2);
    expect(relu).not.toHaveProperty('flops'); // it does not tell them
    report.dispatches.forEach(({ start, milliseconds }, i) => {
      expect(milliseconds).toBeLessThan(10_000);
      if (i > 0) expect(start).toBeGreaterThanOrEqual(report.dispatches[i - 1]!.start);
    });
    expect(report.milliseconds).toBeGreaterThan(0);
    expect(report.kernels.reduce((sum, { calls }) => sum + calls, 0)).toBe(4);
    expect(report.ceiling.flopsPerSecond).toBeGreaterThan(1e7);
    expect(report.ceiling.bytesPerSecond).toBeGreaterThan(1e7);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  },
);

test('more dispatches than a submit holds, two recordings at once, nothing recorded after the end', async () => {
  const x = spread([100]);
  const outer = opened().record();
  const many = tf.tidy(() => {
    let y: tf.Tensor = x;
    for (let i = 0; i < 150; i++) y = tf.add(y, x);
    return y;
  });
  const inner = opened().record('cpu');
  const negative = tf.neg(many);
  expect((await inner()).map(({ label }) => label)).toEqual(['Neg']);
  expect(await outer()).toHaveLength(150 + 1);
  tf.dispose([many, negative, tf.neg(x)]);
  const [xs, ys] = [await x.data(), await tf.neg(x).data()];
  expect(ys).toEqual(xs.map((value) => -value));
  expect(await opened().record()()).toEqual([]);
});

test('work that throws ends its recording', async () => {
  const failing = profile(opened(), () => {
    throw new Error('in the work');
  });
  await expect(failing).rejects.toThrow('in the work');
  expect(await opened().record()()).toEqual([]);
});

test('table and trace of a known profile', () => {
  const dispatches = [
    { label: 'product', start: 10, milliseconds: 2, workgroups: [1, 1, 1], flops: 4e6, bytes: 1e6 },
    { label: 'copy', start: 12.5, milliseconds: 6, workgroups: [2, 1, 1], bytes: 3e6 },
  ] as const;
  const known: Profile = {
    ...{ adapter: 'an adapter', clock: 'cpu', milliseconds: 8, dispatches },
    ceiling: { flopsPerSecond: 4e9, bytesPerSecond: 1e9 },
    kernels: [
      { label: 'copy', calls: 1, milliseconds: 6, bytesPerSecond: 0.5e9 },
      { label: 'product', calls: 1, milliseconds: 2, flopsPerSecond: 2e9, bytesPerSecond: 0.5e9 },
    ],
  };
  expect(profileTable(known).split('\n')).toEqual([
    '8.00 ms in kernels on an adapter by cpu; at most 4.0 GFLOP/s, 1.0 GB/s',
    'kernel   calls    ms  time  GFLOP/s  of most  GB/s  of most',
    'copy         1  6.00  75 %                     0.5     50 %',
    'product      1  2.00  25 %      2.0     50 %   0.5     50 %',
  ]);
  expect(chromeTrace(known).traceEvents.slice(2)).toMatchObject([
    { ph: 'X', name: 'product', ts: 0, dur: 2000, args: { flops: 4e6 } },
    { ph: 'X', name: 'copy', ts: 2500, dur: 6000, args: { bytes: 3e6 } },
  ]);
});

test('tf.time, and tf.profile in debug mode', async () => {
  const x = spread([256, 256]) as tf.Tensor2D; // above the 0.1 ms to which browsers round;
  const { kernelMs, wallMs } = await tf.time(() => tf.tidy(() => void tf.matMul(x, x)));
  expect(kernelMs).toBeGreaterThan(0);
  expect(wallMs).toBeGreaterThan(0);
  const printed = vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  tf.env().set('DEBUG', true);
  try {
    const { kernels } = await tf.profile(() => tf.tidy(() => tf.relu(tf.matMul(x, x))));
    expect(kernels.map(({ name }) => name)).toEqual(['BatchMatMul', 'Relu']);
    for (const { kernelTimeMs } of kernels) expect(await kernelTimeMs).toBeGreaterThan(0);
    await opened().sync(); // debug mode reads every result
  } finally {
    tf.env().set('DEBUG', false);
  }
  expect(printed.mock.calls.join('\n')).toMatch(/BatchMatMul.*matmul.*ms/);
  vi.restoreAllMocks();
});
