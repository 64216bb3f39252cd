import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { openedBackend, spread } from '../../test/both-backends.ts';
import type { AdapterFacts } from '../device/open-device.ts';
import { profile, type TunedKernel, tune } from '../index.ts';
import { attentionShapes, shapeName } from '../ops/attention/attention-choice.ts';
import { attention, linear } from '../ops/index.ts';

const opened = openedBackend();

const shapes = ['[..256, 192] x [192, 160]', '[..256, 160] x [160, 96]^T + bias'];

/** Two classes of matmuls, one of them twice. */
function work(): Promise<Float32Array> {
  const made = tf.tidy(() => {
    const product = tf.matMul(spread([250, 192]), spread([192, 160], { seed: 2 }));
    const more = tf.matMul(spread([129, 192]), spread([192, 160], { seed: 3 }));
    const x = tf.slice(tf.concat([product, more]), [0, 0], [200, 160]);
    return linear(x, { weight: spread([96, 160], { seed: 4 }), bias: spread([96], { seed: 5 }) });
  });
  return made.data<'float32'>().finally(() => made.dispose());
}

async function all(tuning: AsyncIterable<TunedKernel>): Promise<TunedKernel[]> {
  const rows = [];
  for await (const row of tuning) rows.push(row);
  return rows;
}

test.each(['chosen for the adapter', 'portable'])(
  'the kernel %s: what is timed is taken, and gives the same',
  async (which) => {
    const real: AdapterFacts = opened().facts;
    if (which === 'portable') Object.assign(opened(), { facts: { ...real, isCpu: false } });
    try {
      const untuned = await work();
      const before = opened().numDataIds();
      const rows = await all(tune(opened(), work, { cache: false }));
      expect(opened().numDataIds()).toBe(before);
      expect(rows.map(({ kernel }) => kernel)).toEqual(shapes);
      for (const { milliseconds, winner, cached } of rows) {
        expect(cached).toBe(false);
        expect(Object.keys(milliseconds)).toHaveLength(4);
        expect(Math.min(...Object.values(milliseconds))).toBeGreaterThan(0);
        const usual = Object.values(milliseconds)[0]!;
        expect(milliseconds[winner]).toBeLessThanOrEqual(usual);
      }
      let tuned = new Float32Array();
      const { dispatches } = await profile(opened(), async () => (tuned = (await work()) as Float32Array<ArrayBuffer>));
      const labels = dispatches.map(({ label }) => label).filter((label) => label.startsWith('matmul'));
      const [first, second] = rows.map(({ winner }) => `matmul-${winner}`);
      expect(labels).toEqual([first, first, `${second} B^T`]);
      const largest = Math.max(...untuned.map(Math.abs));
      for (const [i, value] of tuned.entries()) expect(Math.abs(value - untuned[i]!)).toBeLessThan(1e-5 * largest);
    } finally {
      Object.assign(opened(), { facts: real });
    }
  },
);

test('attention for GPUs: what is timed is taken, and gives the same', async () => {
  const real: AdapterFacts = opened().facts;
  Object.assign(opened(), { facts: { ...real, isCpu: false, vendor: 'amd' } });
  const attend = () =>
    tf.tidy(() => {
      const [query, key, value] = [1, 2, 3].map((seed) => spread([2, 9, 8], { seed })) as [
        tf.Tensor,
        tf.Tensor,
        tf.Tensor,
      ];
      const bias = { height: spread([2, 9, 3], { seed: 4 }), width: spread([2, 9, 3], { seed: 5 }) };
      return attention({ query, key, value, bias });
    });
  try {
    const untuned = attend();
    const before = opened().numDataIds();
    const rows = await all(tune(opened(), () => attend().dispose(), { cache: false }));
    expect(opened().numDataIds()).toBe(before);
    expect(rows.map(({ kernel }) => kernel)).toEqual(['attention [2, 9, 8] over 3 x 3 keys with positions']);
    const shapes = attentionShapes('forward', opened().facts, { Nq: 9, Nk: 9, D: 8, bias: true, kw: 3 });
    expect(Object.keys(rows[0]!.milliseconds)).toEqual(shapes.map(shapeName));
    const tuned = attend();
    const expected = await untuned.data<'float32'>();
    const actual = await tuned.data<'float32'>();
    for (const [i, value] of actual.entries()) expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5);
    tf.dispose([untuned, tuned]);
  } finally {
    Object.assign(opened(), { facts: real });
  }
});

test('a signal or the end of the loop ends it, an error in the work is told', async () => {
  const controller = new AbortController();
  const rows: TunedKernel[] = [];
  const tuning = (async () => {
    for await (const row of tune(opened(), work, { cache: false, signal: controller.signal })) {
      rows.push(row);
      controller.abort(new Error('enough'));
    }
  })();
  await expect(tuning).rejects.toThrow('enough');
  expect(rows).toHaveLength(1);
  const before = opened().numDataIds();
  for await (const { kernel } of tune(opened(), work, { cache: false })) {
    expect(kernel).toBe(shapes[0]);
    break;
  }
  expect(opened().numDataIds()).toBe(before);
  const failing = all(tune(opened(), () => Promise.reject(new Error('in the work')), { cache: false }));
  await expect(failing).rejects.toThrow('in the work');
  expect(await opened().record()()).toEqual([]);
});

test.runIf(typeof document !== 'undefined')('in a page, times are kept in localStorage', async () => {
  localStorage.removeItem('slimsam-tuned');
  expect((await all(tune(opened(), work))).map(({ cached }) => cached)).toEqual([false, false]);
  expect((await all(tune(opened(), work))).map(({ cached }) => cached)).toEqual([true, true]);
  localStorage.setItem('slimsam-tuned', 'mine');
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  expect((await all(tune(opened(), work))).map(({ cached }) => cached)).toEqual([false, false]);
  expect(warn).toHaveBeenCalledExactlyOnceWith(
    "tune: expected times that tune wrote in 'slimsam-tuned', got 'mine'; times are kept for this run only, give another cache",
  );
  warn.mockRestore();
  expect(localStorage.getItem('slimsam-tuned')).toBe('mine');
  localStorage.removeItem('slimsam-tuned');
});
