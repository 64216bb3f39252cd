import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { openedBackend, spread } from '../../test/both-backends.ts';
import type { AdapterFacts } from '../device/open-device.ts';
import { profile, type TunedMatmul, tune } from '../index.ts';
import { linear } from '../ops/index.ts';

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

async function all(tuning: AsyncIterable<TunedMatmul>): Promise<TunedMatmul[]> {
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
      expect(rows.map(({ matmul }) => matmul)).toEqual(shapes);
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

test('a signal or the end of the loop ends it, an error in the work is told', async () => {
  const controller = new AbortController();
  const rows: TunedMatmul[] = [];
  const tuning = (async () => {
    for await (const row of tune(opened(), work, { cache: false, signal: controller.signal })) {
      rows.push(row);
      controller.abort(new Error('enough'));
    }
  })();
  await expect(tuning).rejects.toThrow('enough');
  expect(rows).toHaveLength(1);
  const before = opened().numDataIds();
  for await (const { matmul } of tune(opened(), work, { cache: false })) {
    expect(matmul).toBe(shapes[0]);
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
