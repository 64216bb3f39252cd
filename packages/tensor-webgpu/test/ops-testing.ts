import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { type AdapterFacts, useWebgpu, type WebgpuBackend } from '../src/index.ts';
import { opKernels } from '../src/ops/kernels.ts';

/** Opens the backend with the fused kernels for a test file and frees it afterwards. */
export function backendWithOps(): () => WebgpuBackend {
  let backend: WebgpuBackend | undefined;
  beforeAll(async () => {
    backend = await useWebgpu();
    const backendName = tf.getBackend();
    for (const kernel of opKernels) {
      if (!tf.getKernel(kernel.kernelName, backendName)) tf.registerKernel({ ...kernel, backendName });
    }
  });
  afterAll(() => backend?.dispose());
  return () => backend!;
}

/** Runs `work` as on an adapter with these facts; unless given, one that is not a CPU and whose subgroups vary. */
export async function asGpu<T>(
  backend: WebgpuBackend,
  work: () => Promise<T>,
  given: Partial<AdapterFacts> = {},
): Promise<T> {
  const facts = backend.facts;
  const pretend = (value: typeof facts) => Object.defineProperty(backend, 'facts', { value, configurable: true });
  pretend({ ...facts, isCpu: false, subgroupSize: 0, ...given });
  try {
    return await work();
  } finally {
    pretend(facts);
  }
}

/** Numbers of about a normal distribution, the same on every run, rounded to float32. */
function normal(size: number, seed: number, spread = 1): Float64Array {
  let state = Math.imul(seed, 2654435761) >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float64Array.from({ length: size }, () =>
    Math.fround(spread * (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3)),
  );
}

/** Named float64 values with their shapes: what an oracle reads and returns. */
export type Values = Record<string, { readonly shape: readonly number[]; readonly data: Float64Array }>;

export const values = (shape: readonly number[], seed: number, spread = 1) => ({
  shape,
  data: normal(tf.util.sizeFromShape([...shape]), seed, spread),
});

/** The nearest float16, ties to even: what `half` keeps of a number. */
export function nearestHalf(value: number): number {
  const size = Math.abs(value);
  if (!(size < 65520)) return value * Number.POSITIVE_INFINITY;
  const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
  const steps = size / step;
  const down = Math.floor(steps);
  const up = steps - down > 0.5 || (steps - down === 0.5 && down % 2 === 1);
  return Math.sign(value) * (down + Number(up)) * step;
}

/** The same values as `half` keeps them. */
export const inHalf = ({ shape, data }: Values[string]) => ({ shape, data: data.map(nearestHalf) });

/** Of the largest value: a result that is rounded to half precision once, after sums in float32. */
export const halfTolerance = 2 ** -11 + 1e-5;

/**
 * Runs an op and its gradients with output gradient `dy` and compares them with an oracle's `output` and gradients by input name:
 * each value to `tolerance` times the largest of its tensor, those of the output to `outputTolerance` where given; `least`, as in
 * `expectNear`, for gradients by name. Fails when tensors are left behind.
 */
export async function expectOp(
  op: (inputs: Record<string, tf.Tensor>) => tf.Tensor,
  {
    inputs,
    dy,
    expected,
    tolerance,
    outputTolerance = tolerance,
    least = {},
  }: {
    inputs: Values;
    dy: Values[string];
    expected: Record<string, Float64Array>;
    tolerance: number;
    outputTolerance?: number | undefined;
    least?: Readonly<Record<string, number>>;
  },
): Promise<void> {
  const before = tf.memory().numTensors;
  const names = Object.keys(inputs);
  const tensors = Object.values(inputs).map(({ shape, data }) => tf.tensor(Float32Array.from(data), [...shape]));
  const upstream = tf.tensor(Float32Array.from(dy.data), [...dy.shape]);
  const named = (list: tf.Tensor[]) => Object.fromEntries(list.map((tensor, i) => [names[i]!, tensor]));
  const output = op(named(tensors));
  const gradients = tf.grads((...list: tf.Tensor[]) => op(named(list)))(tensors, upstream);
  const results: Record<string, tf.Tensor> = { output, ...named(gradients) };
  for (const [name, result] of Object.entries(results)) {
    if (name !== 'output') expect(result.shape).toEqual(inputs[name]!.shape);
    expectNear(
      name,
      await result.data(),
      expected[name]!,
      name === 'output' ? outputTolerance : tolerance,
      least[name],
    );
  }
  tf.dispose([...tensors, upstream, ...Object.values(results)]);
  expect(tf.memory().numTensors).toBe(before);
}

/** Each value to `tolerance` times the largest expected one, or times `least` where all are smaller. */
export function expectNear(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  least = 0.01, // where the exact gradient is 0, roundings remain
): void {
  expect(actual.length, name).toBe(expected.length);
  let largest = least;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    if (Math.abs(actual[i]! - expected[i]!) <= tolerance * largest) continue;
    expect.fail(`${name}[${i}]: expected ${expected[i]} within ${tolerance} of ${largest}, got ${actual[i]}`);
  }
}
