import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { afterAll, beforeAll, expect } from 'vitest';
import { useWebgpu, type WebgpuBackend } from '../src/index.ts';

type Result = tf.Tensor | readonly tf.Tensor[];

/** Opens the backend for a test file and frees it afterwards. */
export function openedBackend(): () => WebgpuBackend {
  let backend: WebgpuBackend | undefined;
  beforeAll(async () => {
    backend = await useWebgpu();
  });
  afterAll(() => backend?.dispose());
  return () => backend!;
}

/** Evenly spread values in [-1, 1) times `scale`, the same on every run. */
export function spread(shape: readonly number[], { seed = 1, scale = 2 } = {}): tf.Tensor {
  const size = tf.util.sizeFromShape([...shape]);
  let state = seed * 2654435761;
  const values = Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
  return tf.tensor(values, [...shape]);
}

/** The same as int32. */
export function integers(shape: readonly number[], { seed = 1, scale = 20 } = {}): tf.Tensor {
  return tf.cast(spread(shape, { seed, scale }), 'int32');
}

async function valuesOn(name: string, work: () => Result) {
  await tf.setBackend(name);
  const before = tf.memory().numTensors;
  const data = tf.engine().backend.numDataIds();
  const made = tf.tidy(() => {
    const result = work();
    return Array.isArray(result) ? [...(result as tf.Tensor[])] : [result as tf.Tensor];
  });
  const read = [];
  for (const t of made) read.push({ shape: t.shape, dtype: t.dtype, values: Array.from(await t.data()) });
  tf.dispose(made);
  expect(tf.memory().numTensors, `${name}: tensors left`).toBe(before);
  expect(tf.engine().backend.numDataIds(), `${name}: data left`).toBe(data);
  return read;
}

/**
 * Runs `work` on tfjs-backend-cpu and here, and expects equal shapes, dtypes and values within
 * `tolerance` (1 + |expected|), NaN and infinities in the same places, and nothing left over.
 */
export async function expectSame(work: () => Result, tolerance = 1e-5): Promise<void> {
  const expected = await valuesOn('cpu', work);
  const actual = await valuesOn('slimsam-webgpu', work);
  expect(actual.map(({ shape, dtype }) => ({ shape, dtype }))).toEqual(
    expected.map(({ shape, dtype }) => ({ shape, dtype })),
  );
  expected.forEach(({ values }, k) => {
    const worst = values.reduce<{ at: number; off: number }>(
      (found, want, at) => {
        const got = actual[k]!.values[at]!;
        const same = Object.is(want, got) || want === got;
        const off = same ? 0 : Math.abs(want - got) / (1 + Math.abs(want));
        const measured = Number.isNaN(off) || (!same && !Number.isFinite(want)) ? Number.POSITIVE_INFINITY : off;
        return measured > found.off ? { at, off: measured } : found;
      },
      { at: -1, off: 0 },
    );
    if (worst.off > tolerance)
      expect.fail(
        `result ${k} at ${worst.at}: expected ${values[worst.at]}, got ${actual[k]!.values[worst.at]} (${worst.off})`,
      );
  });
}
