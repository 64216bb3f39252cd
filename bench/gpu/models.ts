import { profile } from '@slimsam/tensor-webgpu';
import { encodeImage, halfPrecision, type SamPreset, samPresets } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import { median } from '../../packages/tensor-webgpu/bench/measure.ts';
import { onnxName, onnxSession } from '../../packages/tensor-webgpu/bench/peers/onnxruntime.ts';
import { addEncoder } from '../../packages/vit/src/onnx/encoder-graph.ts';
import { createGraph } from '../../packages/vit/src/onnx/graph.ts';
import { encodeFlops, imagesOf, presetWeights, stageOne } from '../cases/stage-one.ts';
import type { Bench } from './bench.ts';
import { keepBusy, type Run, timeOf } from './clock.ts';
import { type GpuRow, kernelRows } from './rows.ts';

const names = { 'sam-vit-base': 'SAM-B', 'sam-vit-large': 'SAM-L', 'sam-vit-huge': 'SAM-H', tiny: 'tiny SAM' };

/** Encodes of SAM-B, L and H in both precisions; the first of all compiles. */
export async function encodeRows(bench: Bench, withOnnx: boolean): Promise<void> {
  const presets = bench.small ? (['tiny'] as const) : (['sam-vit-base', 'sam-vit-large', 'sam-vit-huge'] as const);
  for (const key of presets) {
    const preset = samPresets[key];
    const [exact, rounded] = [`${names[key]} encode`, `${names[key]} encode, half precision`];
    if (!bench.wanted(exact) && !bench.wanted(rounded)) continue;
    const weights = presetWeights(preset, 'image_encoder.');
    const pixels = imagesOf(preset);
    const flops = encodeFlops(weights, preset);
    let embedding: Float32Array | undefined;
    await bench.row(exact, async () => {
      const encoded = await encodeTimes(bench, { preset, weights, pixels, flops });
      embedding = encoded.embedding;
      const onnx = withOnnx && key !== 'sam-vit-large' && key !== 'sam-vit-huge';
      return { ...encoded.row, ...(onnx && { peers: await onnxTimes(bench, { preset, weights, pixels }) }) };
    });
    await bench.row(rounded, async () => {
      if (!bench.backend.facts.features.includes('shader-f16'))
        return { ms: 0, leftOut: 'the adapter has no shader-f16' };
      const half = halfPrecision(weights);
      try {
        const encoded = await encodeTimes(bench, { preset, weights: half, pixels, flops });
        return { ...encoded.row, ...(embedding && { error: largestDifference(embedding, encoded.embedding) }) };
      } finally {
        disposeWeights(half);
      }
    });
    disposeWeights(weights);
    pixels.dispose();
  }
}

interface Encode {
  readonly preset: SamPreset;
  readonly weights: Weights;
  readonly pixels: tf.Tensor4D;
}

async function encodeTimes(
  { backend, small }: Bench,
  { preset, weights, pixels, flops }: Encode & { readonly flops: number },
): Promise<{ row: Omit<GpuRow, 'case'>; embedding: Float32Array }> {
  const encode = () => encodeImage(weights, preset.config, pixels).embedding;
  const start = performance.now();
  const first = encode();
  await backend.sync();
  const firstMs = Math.round(performance.now() - start);
  const embedding = await first.data<'float32'>();
  first.dispose();
  const hosts: number[] = [];
  const run: Run = async (times = 1) => {
    for (let n = 0; n < times; n++) {
      const begin = performance.now();
      encode().dispose();
      hosts.push(performance.now() - begin);
    }
    await backend.sync();
  };
  const ms = await timeOf(backend, run, { runs: 1, rounds: small ? 1 : 5 });
  const hostMs = Number(median(hosts).toPrecision(3));
  await keepBusy(backend);
  const kernels = kernelRows(await profile(backend, () => run()), 1);
  return { row: { firstMs, ms, hostMs, ...kernels, tflops: flops / ms / 1e9, MiB: allocated(backend) }, embedding };
}

const allocated = (backend: Bench['backend']): number => {
  const { numBytesInGPU, numBytesIdle } = backend.memory();
  return Math.round((numBytesInGPU + numBytesIdle) / 2 ** 20);
};

async function onnxTimes(
  { backend, small }: Bench,
  { preset, weights, pixels }: Encode,
): Promise<Record<string, number>> {
  const { config, sizes } = preset;
  const graph = createGraph('encoder', weights, 'F32');
  const embedding = addEncoder(graph, config, graph.input('image', pixels.shape), sizes.depth);
  const grid = config.imageSize / config.patchSize;
  graph.output('embedding', [1, sizes.promptWidth, grid, grid], embedding);
  const values = { shape: pixels.shape, data: await pixels.data<'float32'>() };
  try {
    const { run, free } = await onnxSession('webgpu', graph.record, () => values);
    await run();
    const ms = await timeOf(backend, run, { runs: 1, rounds: small ? 1 : 3 });
    free();
    return { [onnxName('webgpu')]: ms };
  } catch (error) {
    console.log(`${onnxName('webgpu')} is left out: ${(error as Error).message.split('\n')[0]}`);
    return {};
  }
}

function largestDifference(expected: Float32Array, actual: Float32Array): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(expected[i]! - actual[i]!);
    if (!(difference <= worst)) worst = difference; // NaN stays
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return worst / largest;
}

/** Steps of SlimSAM's first stage with 1 and 4 images. */
export async function stepRows(bench: Bench): Promise<void> {
  const { backend, small } = bench;
  const preset = samPresets[small ? 'tiny' : 'sam-vit-base'];
  for (const batch of small ? [1] : [1, 4])
    await bench.row(`SlimSAM-50 step of stage 1, batch ${batch}`, async () => {
      const { steps, flops, free } = await stageOne(preset);
      try {
        await keepBusy(backend);
        const times: number[] = [];
        let start = performance.now();
        for await (const _ of steps(small ? 2 : batch === 1 ? 8 : 5, batch)) {
          times.push(performance.now() - start);
          start = performance.now();
        }
        const later = times.slice(small ? 1 : 2);
        const ms = Number(median(later).toPrecision(4));
        const MiB = allocated(backend);
        await keepBusy(backend);
        const kernels = kernelRows(await profile(backend, () => exhausted(steps(1, batch))), 1);
        return { firstMs: Math.round(times[0]!), ms, ...kernels, tflops: (flops * batch) / ms / 1e9, MiB };
      } finally {
        free();
      }
    });
}

async function exhausted(steps: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of steps);
}
