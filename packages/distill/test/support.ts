import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { afterAll, beforeAll } from 'vitest';

/** Opens WebGPU for the tests of a file, and closes it after them. */
export function withWebgpu(): () => WebgpuBackend {
  let backend: WebgpuBackend | undefined;
  beforeAll(async () => {
    backend = await useWebgpu();
  });
  afterAll(() => backend?.dispose());
  return () => backend!;
}

/** The largest |got - wanted|, as a share of the largest |wanted|. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) throw new Error(`expected ${wanted.length} values, got ${got.length}`);
  let [error, scale] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    error = Math.max(error, Math.abs(got[i]! - wanted[i]!));
    scale = Math.max(scale, Math.abs(wanted[i]!));
  }
  return scale === 0 ? error : error / scale;
}

/** Seeded numbers in [-1, 1). */
export function numbers(count: number, seed: number): number[] {
  let state = seed >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
