import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import { encodeImage, samPresets } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type Measured, median } from '../packages/tensor-webgpu/bench/measure.ts';
import { onnxName, onnxSession } from '../packages/tensor-webgpu/bench/peers/onnxruntime.ts';
import { expectFits } from '../packages/tensor-webgpu/bench/peers/runner.ts';
import { addEncoder } from '../packages/vit/src/onnx/encoder-graph.ts';
import { createGraph } from '../packages/vit/src/onnx/graph.ts';
import { encodeFlops, imagesOf, presetWeights, stageOne } from './cases/stage-one.ts';
import { samBConfig as config, samB } from './cases/vit-block.ts';
import { type Peak, watchMemory } from './memory-watch.ts';

export interface SamRow {
  readonly case: string;
  readonly pass: 'forward' | 'backward';
  readonly ours: Measured;
  readonly peers: Readonly<Record<string, Measured>>;
  /** Not known here: packages/vit tests the values against PyTorch's. */
  readonly maxError: null;
  /** Its pipelines are many cases'. */
  readonly compileMs: null;
  readonly peakBytes: number;
  readonly peak: Peak;
}

const base = samPresets['sam-vit-base'];

/** Random weights of SAM-B, or of another depth, whose names begin so; the rest of the model is freed. */
export const randomWeights = (prefix: string, { depth, globalBlocks }: Shape = { ...samB, ...config }): Weights =>
  presetWeights({ config: { ...config, globalBlocks }, sizes: { ...samB, depth } }, prefix);

interface Shape {
  readonly depth: number;
  readonly globalBlocks: readonly number[];
}

function measured(times: readonly number[], flops: number): Measured {
  const ms = Math.round(median(times));
  return { ms, gflops: Number((flops / ms / 1e6).toPrecision(4)) };
}

/** SAM-B's encoder on one image of 1024; onnxruntime runs `@slimsam/vit/onnx`'s graph of it. */
export async function samEncode(
  backend: WebgpuBackend,
  { name, rounds, leftOut }: { name: string; rounds: number; leftOut: (name: string, reason: string) => void },
): Promise<SamRow> {
  const weights = randomWeights('image_encoder.');
  const pixels = imagesOf(base);
  const flops = encodeFlops(weights, base);
  const own = async () => {
    const { embedding } = encodeImage(weights, config, pixels);
    await backend.sync();
    embedding.dispose();
  };
  const peak = await watchMemory(backend, own); // before the peers take memory of the same process
  const runners = [{ name, run: own, free: () => {}, times: [] as number[] }];
  const values = { shape: pixels.shape, data: (await pixels.data()) as Float32Array };
  for (const provider of ['cpu', 'webgpu'] as const) {
    try {
      if (provider === 'webgpu') expectFits(config.heads * 4096 ** 2, backend.facts.maxBindingBytes); // a global block's scores
      const graph = createGraph('encoder', weights, 'F32');
      const embedding = addEncoder(graph, config, graph.input('image', pixels.shape), samB.depth);
      graph.output('embedding', [1, samB.promptWidth, 64, 64], embedding);
      const { run, free } = await onnxSession(provider, graph.record, () => values);
      await run();
      runners.push({ name: onnxName(provider), run, free, times: [] });
    } catch (error) {
      leftOut(onnxName(provider), (error as Error).message);
    }
  }
  for (let round = 0; round < rounds; round++)
    for (const { run, times } of runners) {
      const start = performance.now();
      await run();
      times.push(performance.now() - start);
    }
  for (const { free } of runners) free();
  tf.dispose([pixels]);
  disposeWeights(weights);
  const [ours, ...peers] = runners.map(({ name, times }) => [name, measured(times, flops)] as const);
  return {
    case: name,
    pass: 'forward',
    ours: ours![1],
    peers: Object.fromEntries(peers),
    maxError: null,
    compileMs: null,
    peakBytes: peak.allocated,
    peak,
  };
}

/** One step of SlimSAM's stage 1 at ratio 0.5: the teacher's features, the student's, the loss, gradients and Adam; batch 1. */
export async function stageOneStep(
  backend: WebgpuBackend,
  { name, rounds }: { name: string; rounds: number },
): Promise<SamRow> {
  const { flops, steps, free } = await stageOne(base);
  const times: number[] = [];
  const peak = await watchMemory(backend, async () => {
    let start = performance.now();
    for await (const _ of steps(rounds + 1, 1)) {
      times.push(performance.now() - start);
      const { numBytesInGPU, numBytesIdle } = backend.memory();
      const MiB = Math.round((numBytesInGPU + numBytesIdle) / 2 ** 20);
      console.log(
        `    step ${times.length} of ${rounds + 1}: ${(times.at(-1)! / 1000).toFixed(1)} s, allocated ${MiB} MiB`,
      );
      start = performance.now();
    }
  });
  free();
  const later = times.slice(1); // without the one that compiles
  const ours = measured(later, flops);
  return {
    case: name,
    pass: 'backward',
    ours,
    peers: {},
    maxError: null,
    compileMs: null,
    peakBytes: peak.allocated,
    peak,
  };
}
