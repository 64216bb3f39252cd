/** Every exported function of the packages below with values of wrong types: accepted, or one clear error; never the engine's TypeError. */
import '@tensorflow/tfjs-backend-cpu';
import * as distill from '@slimsam/distill';
import * as evaluation from '@slimsam/eval';
import * as evalOnnx from '@slimsam/eval/onnx';
import * as report from '@slimsam/eval/report';
import * as prune from '@slimsam/prune';
import * as queue from '@slimsam/queue';
import * as scenes from '@slimsam/scenes';
import * as ops from '@slimsam/tensor-webgpu/ops';
import * as vit from '@slimsam/vit';
import * as images from '@slimsam/vit/images';
import * as onnx from '@slimsam/vit/onnx';
import * as weights from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import * as jobs from 'slimsam/jobs';
import * as slimsam from 'slimsam/node';
import { beforeAll, expect, test, vi } from 'vitest';

const packages: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...{ weights, vit, 'vit/images': images, 'vit/onnx': onnx, prune, distill, eval: evaluation, 'eval/report': report },
  ...{ 'eval/onnx': evalOnnx, scenes, slimsam, 'slimsam/jobs': jobs, queue, 'tensor-webgpu/ops': ops },
};
/** The guard itself; the process's signals; a backend is opened by a name or not at all; a class. */
const exceptions = ['checkFields', 'stopSignal', 'openBackend', 'JobFailure'];
const values = [undefined, null, 3, true, {}, []];
const argumentLists = [...values.map((value) => [value]), ...values.map((value) => [{}, value])];

/** What a call ends with: of a generator its first step. */
async function outcome(call: (...given: unknown[]) => unknown, given: readonly unknown[]): Promise<unknown> {
  try {
    const result = await call(...given);
    const isGenerator = typeof result === 'object' && result !== null && 'next' in result;
    if (isGenerator && typeof result.next === 'function') await result.next();
    return undefined;
  } catch (error) {
    return error;
  }
}

beforeAll(async () => {
  await tf.setBackend('cpu');
  vi.spyOn(console, 'warn').mockImplementation(() => {});
});

test.each(Object.keys(packages))('%s', async (name) => {
  const wrong: string[] = [];
  let refused = 0;
  for (const [called, call] of Object.entries(packages[name]!)) {
    if (typeof call !== 'function' || exceptions.includes(called)) continue;
    for (const given of argumentLists) {
      const before = tf.memory().numTensors;
      const error = await outcome((...inputs) => call(...inputs), given);
      if (error === undefined) continue;
      refused++;
      const clear = error instanceof Error && error.name === 'Error' && /expected/.test(error.message);
      const words = given.map((value) => JSON.stringify(value) ?? 'undefined').join(', ');
      if (!clear) wrong.push(`${called}(${words}): ${error}`);
      else if (tf.memory().numTensors !== before) wrong.push(`${called}(${words}): tensors stayed`);
    }
  }
  expect(wrong).toEqual([]);
  expect(refused).toBeGreaterThan(10);
});
