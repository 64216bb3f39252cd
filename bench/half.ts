/**
 * Half precision against float32 for inference: blocks of ViT-B on the 64 x 64 tokens of an image of 1024, and SAM-B's encoder, in turns:
 *
 *     npm run bench:half [-- --filter block --rounds 9 --json half.json]
 */

import { useWebgpu } from '@slimsam/tensor-webgpu';
import { encodeImage, halfPrecision } from '@slimsam/vit';
import { disposeWeights, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { median } from '../packages/tensor-webgpu/bench/measure.ts';
import { benchOptions } from '../packages/tensor-webgpu/bench/options.ts';
import { writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { block } from '../packages/vit/src/sam/encoder.ts';
import { samB, samBConfig } from './cases/vit-block.ts';
import { watchMemory } from './memory-watch.ts';
import { randomWeights } from './sam.ts';

const { filter, rounds, json } = benchOptions({ rounds: 7 });
const backend = await useWebgpu();
const adapter = backend.facts.name;
console.log(`${adapter}; medians of ${rounds}, in turns`);

const side = samBConfig.imageSize / samBConfig.patchSize;
const blockOf =
  (globalBlocks: readonly number[]) =>
  (weights: Weights, x: tf.Tensor): tf.Tensor =>
    tf.tidy(() =>
      block(scope(weights, 'image_encoder.blocks.0'), { ...samBConfig, globalBlocks }, x, { index: 0, tap: () => {} }),
    );
const streamShape = [1, side, side, samB.width];
const cases = [
  { name: 'ViT-B block, windows', globalBlocks: [], depth: 1, input: streamShape, run: blockOf([]) },
  { name: 'ViT-B block, global', globalBlocks: [0], depth: 1, input: streamShape, run: blockOf([0]) },
  {
    name: 'SAM-B encode 1024',
    globalBlocks: samBConfig.globalBlocks,
    depth: samB.depth,
    input: [1, 3, samBConfig.imageSize, samBConfig.imageSize],
    run: (weights: Weights, x: tf.Tensor) => encodeImage(weights, samBConfig, x as tf.Tensor4D).embedding,
  },
];

interface Side {
  readonly weights: Weights;
  readonly weightBytes: number;
  readonly times: number[];
  /** Beyond the weights, bytes of tensors. */
  peakBytes: number;
  values: Float32Array;
}

const rows: object[] = [];
for (const one of cases) {
  if (!filter.test(one.name)) continue;
  const x = tf.randomNormal(one.input, 0, 1, 'float32', 5);
  const floats = randomWeights(one.name.includes('block') ? 'image_encoder.blocks.' : 'image_encoder.', one);
  const sides: Side[] = [];
  for (const weights of [floats, halfPrecision(floats)]) {
    const weightBytes = Object.values(weights).reduce((sum, w) => sum + w.size * (backend.isHalf(w) ? 2 : 4), 0);
    sides.push({ weights, weightBytes, times: [], peakBytes: 0, values: new Float32Array() });
  }
  for (const side of sides) {
    const first = one.run(side.weights, x); // compiles and uploads
    side.values = await first.data<'float32'>();
    first.dispose();
    const before = backend.memory().numBytesInGPU;
    const { live } = await watchMemory(backend, async () => one.run(side.weights, x).dispose());
    side.peakBytes = live - before;
  }
  for (let round = 0; round < rounds; round++)
    for (const { weights, times } of sides) {
      await backend.sync();
      const start = performance.now();
      const y = one.run(weights, x);
      await backend.sync();
      times.push(performance.now() - start);
      y.dispose();
    }
  const [exact, rounded] = sides as [Side, Side];
  const ratio = median(exact.times.map((time, i) => rounded.times[i]! / time));
  let [low, high, worst] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  exact.values.forEach((value, i) => {
    [low, high] = [Math.min(low, value), Math.max(high, value)];
    worst = Math.max(worst, Math.abs(value - rounded.values[i]!));
  });
  const row = {
    case: one.name,
    error: worst / (high - low),
    ratio,
    ...Object.fromEntries(
      sides.map(({ times, weightBytes, peakBytes }, i) => [
        ['float32', 'half'][i]!,
        { ms: Math.round(median(times)), weightBytes, peakBytes },
      ]),
    ),
  };
  rows.push(row);
  const MiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const text = ({ times, weightBytes, peakBytes }: Side) =>
    `${Math.round(median(times))} ms, weights ${MiB(weightBytes)}, other tensors at most ${MiB(peakBytes)}`;
  console.log(`${one.name}: float32 ${text(exact)}; half precision ${text(rounded)}`);
  console.log(`    ${ratio.toFixed(3)} times as long, largest difference ${row.error.toExponential(1)} of the range`);
  if (json) await writeJson(json, { adapter, rounds, rows });
  for (const { weights } of sides) disposeWeights(weights);
  x.dispose();
}
backend.dispose();
