import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { gelu, layerNorm, linear } from '../src/ops/index.ts';
import { openedBackend, spread } from './both-backends.ts';

const opened = openedBackend();
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('1000 training steps: the same tensors and buffers after each, and no more memory of the process', async () => {
  const { device } = opened();
  let buffers = 0; // made and not destroyed
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    buffers++;
    buffer.destroy = () => {
      buffers--;
      destroy();
    };
    return buffer;
  };
  const weights = {
    first: tf.variable(spread([24, 8], { scale: 0.3 })),
    scale: tf.variable(tf.ones([24])),
    offset: tf.variable(tf.zeros([24])),
    last: tf.variable(spread([3, 24], { seed: 2, scale: 0.3 })),
  };
  const model = (x: tf.Tensor) =>
    linear(gelu(layerNorm(linear(x, { weight: weights.first }), { scale: weights.scale, offset: weights.offset })), {
      weight: weights.last,
    });
  const optimizer = tf.train.momentum(0.05, 0.9);
  const seen: { tensors: number; bytes: number; idle: number; buffers: number; rss: number; loss: number }[] = [];
  for (let step = 1; step <= 1000; step++) {
    const x = spread([32, 8], { seed: step % 100 });
    const cost = optimizer.minimize(
      () => tf.mean(tf.squaredDifference(model(x), tf.slice(tf.sin(tf.mul(2, x)), [0, 0], [32, 3]))) as tf.Scalar,
      true,
    )!;
    x.dispose();
    if (step % 100 === 0) {
      const loss = (await cost.data())[0]!;
      collectGarbage();
      const { numTensors, numBytesInGPU, numBytesIdle } = tf.memory() as tf.MemoryInfo & Record<string, number>;
      const [bytes, idle] = [numBytesInGPU!, numBytesIdle!];
      seen.push({ tensors: numTensors, bytes, idle, buffers, rss: process.memoryUsage.rss(), loss });
    }
    cost.dispose();
  }
  const [early, last] = [seen[1]!, seen.at(-1)!];
  for (const { rss, loss, ...held } of seen.slice(1)) {
    const { tensors, bytes, idle, buffers } = early;
    expect(held).toEqual({ tensors, bytes, idle, buffers });
  }
  expect(last.rss - early.rss).toBeLessThan(16 * 2 ** 20); // measured: 3 MiB; a memory page a dispatch would be 200
  expect(last.loss).toBeLessThan(seen[0]!.loss / 1.2); // of the same batch
  optimizer.dispose();
  tf.dispose(weights);
});
