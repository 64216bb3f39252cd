/** tensor-webgpu alone, as any TensorFlow.js backend: a small convolutional network by tfjs-layers learns to tell discs from squares. */
import { useWebgpu } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential } from '@tensorflow/tfjs-layers';
import { Command } from 'commander';
import { parse } from 'slimsam/node';

const { epochs, images } = new Command('convnet')
  .description('trains a small convolutional network on drawn discs and squares')
  .option('--epochs <n>', 'rounds', parse.positiveInteger, 6)
  .option('--images <n>', 'to draw', parse.positiveInteger, 256)
  .parse()
  .opts<{ epochs: number; images: number }>();

const side = 16;
const backend = await useWebgpu();
try {
  const pixels = new Float32Array(images * side * side);
  const labels = Float32Array.from({ length: images }, (_, i) => i % 2);
  for (let i = 0; i < images; i++) {
    const [x, y, r] = [5 + ((i * 7) % 6), 5 + ((i * 5) % 6), 3 + ((i * 3) % 3)];
    for (let at = 0; at < side * side; at++) {
      const [dx, dy] = [Math.abs((at % side) - x), Math.abs(Math.floor(at / side) - y)];
      const inside = i % 2 === 0 ? dx * dx + dy * dy <= r * r : Math.max(dx, dy) <= r;
      pixels[i * side * side + at] = inside ? 1 : 0;
    }
  }
  const model = sequential({
    layers: [
      layers.conv2d({ inputShape: [side, side, 1], filters: 8, kernelSize: 3, activation: 'relu' }),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.flatten(),
      layers.dense({ units: 1, activation: 'sigmoid' }),
    ],
  });
  model.compile({ optimizer: tf.train.adam(0.01), loss: 'binaryCrossentropy', metrics: ['accuracy'] });
  const x = tf.tensor4d(pixels, [images, side, side, 1]);
  const { history } = await model.fit(x, tf.tensor2d(labels, [images, 1]), { epochs, batchSize: 32, verbose: 0 });
  const first = Number(history.loss![0]).toFixed(3);
  console.log(
    `loss ${first} -> ${Number(history.loss!.at(-1)).toFixed(3)}, accuracy ${Number(history.acc!.at(-1)).toFixed(3)} on ${backend.facts.name}`,
  );
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.dispose();
}
