/**
 * How long each pipeline of some models takes to compile, in processor time and without the driver's cache, and how much longer
 * than the next the first run of a model takes:
 *
 *     npm run bench:compile [-- --filter teacher --json compile.json]
 */
import { fileURLToPath } from 'node:url';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, encodeImage, initVit, loadSam, type VitConfig, vitFeatures } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { compress, photographsInMemory, slimSam } from 'slimsam';
import { values } from '../packages/tensor-webgpu/bench/cases/case.ts';
import { benchOptions } from '../packages/tensor-webgpu/bench/options.ts';
import { processor } from '../packages/tensor-webgpu/bench/processor.ts';
import { writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { blockCases } from './cases/vit-block.ts';

process.env.MESA_SHADER_CACHE_DISABLE = 'true'; // Mesa reads it when a device is opened
const { filter, json } = benchOptions({ rounds: 1 });
const backend = await useWebgpu();
const { name: adapter } = backend.facts;
console.log(`${adapter} on ${processor(backend.facts)}`);

const [uniformUsage, storageUsage] = [0x40, 0x80]; // GPUBufferUsage, which Node has not

/** What compiling needs of a pipeline, by its text. */
const pipelines = new Map<string, { readonly label: string; readonly models: Set<string> }>();
const { device } = backend;
const createShaderModule = device.createShaderModule.bind(device);
let model = '';
device.createShaderModule = (descriptor) => {
  const known = pipelines.get(descriptor.code) ?? { label: descriptor.label ?? '', models: new Set() };
  pipelines.set(descriptor.code, known);
  known.models.add(model);
  return createShaderModule(descriptor);
};

const dinov2S: VitConfig = {
  ...{ imageSize: [518, 518], heads: 6, headWidth: 64, activation: 'gelu', epsilon: 1e-6, antialias: true },
  pixelMean: [123.675, 116.28, 103.53],
  pixelStd: [58.395, 57.12, 57.375],
};
const teacher = await loadSam(fileURLToPath(new URL('../examples/teacher/', import.meta.url)));
const side = teacher.config.imageSize;
const picture = (seed: number) => ({
  width: side,
  height: side,
  data: Uint8Array.from(values([side, side, 3], seed).data, (value) => 128 + 40 * value),
});
const image = (size: number) => tf.tensor4d(values([1, 3, size, size], 7).data, [1, 3, size, size]);
const blocks = blockCases.map(({ name, make, compute }): [string, () => Promise<void>] => [
  `${name}, with gradients`,
  async () => {
    const { inputs, dy } = make();
    const tensors = inputs.map(({ data, shape }) => tf.tensor(data, [...shape]));
    const seed = tf.tensor(dy.data, [...dy.shape]);
    const gradients = tf.grads((...list: tf.Tensor[]) => compute(...list))(tensors, seed);
    await gradients[0]!.data();
    tf.dispose([gradients, tensors, seed]);
  },
]);
/** In this order: a pipeline is compiled by the first that needs it. */
const models = new Map<string, () => Promise<void>>([
  [
    'teacher, encode',
    async () => {
      const embedding = tf.tidy(() => encodeImage(teacher.weights, teacher.config, image(side)).embedding);
      await embedding.data();
      embedding.dispose();
    },
  ],
  [
    'quickstart',
    async () => {
      const photographs = photographsInMemory([1, 2, 3, 4].map((seed) => ({ name: `${seed}`, image: picture(seed) })));
      const recipe = slimSam({ ratio: 0.5, epochs: 1, learningRate: 1e-3, decay: 'cosine', sample: 2 });
      for await (const event of compress(teacher, { photographs, recipe, batch: 2, seed: 1 })) {
        if (event.type !== 'done') continue;
        for (const sam of [teacher, event.result.model]) {
          const predictor = createPredictor(sam.weights, teacher.config);
          const embedded = predictor.embed(picture(1));
          const masks = await predictor.predict(embedded, { points: [[40, 50]] });
          masks.dispose();
          embedded.dispose();
        }
      }
    },
  ],
  [
    'DINOv2-S at 224, features',
    async () => {
      const weights = initVit(dinov2S, { depth: 12, mlpWidth: 1536, patchSize: 14, layerScale: 1 }, { seed: 1 });
      const tokens = tf.tidy(() => vitFeatures(weights, dinov2S, image(224)).tokens);
      await tokens.data();
      tokens.dispose();
      disposeWeights(weights);
    },
  ],
  ...blocks,
]);

const used = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
async function timed(work: () => Promise<void>): Promise<{ wall: number; cpu: number }> {
  const [start, before] = [performance.now(), used()];
  await work();
  return { wall: Math.round(performance.now() - start), cpu: Math.round(used() - before) };
}

console.log('milliseconds of the first run, and of the second:');
const runs = [];
for (const [name, work] of models) {
  if (!filter.test(name)) continue;
  model = name;
  const [first, second] = [await timed(work), await timed(work)];
  runs.push({ model: name, first, second });
  console.log(`  ${name}: ${first.wall} (processor ${first.cpu}), ${second.wall} (processor ${second.cpu})`);
}
disposeWeights(teacher.weights);
backend.dispose();

const rows: { label: string; ms: number; models: readonly string[] }[] = [];
const fresh = await useWebgpu(); // it knows no pipeline yet
for (const [code, { label, models }] of pipelines)
  rows.push({ label, ms: await compileTime(code), models: [...models] });
fresh.dispose();
rows.sort((a, b) => b.ms - a.ms);
console.log(`${rows.length} pipelines, ${rows.reduce((sum, { ms }) => sum + ms, 0)} ms of processor time in all:`);
for (const { label, ms, models } of rows) console.log(`${String(ms).padStart(7)} ms  ${label.padEnd(44)} ${models}`);
if (json) await writeJson(json, { adapter, runs, pipelines: rows });

/** Processor time of the first dispatch, whose uniforms are all 0, so that it computes next to nothing; lavapipe compiles at that. */
async function compileTime(code: string): Promise<number> {
  const { device } = fresh;
  device.pushErrorScope('validation');
  const before = used();
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const bindings = [...code.matchAll(/@binding[(]([0-9]+)[)] var<(storage|uniform)/g)];
  const buffers = bindings.map(([, , kind]) =>
    device.createBuffer({ size: 65536, usage: kind === 'uniform' ? uniformUsage : storageUsage }),
  );
  const entries = buffers.map((buffer, i) => ({ binding: Number(bindings[i]![1]), resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  device.queue.submit([encoder.finish()]);
  await fresh.sync(); // it sleeps between two looks, which Dawn's own waiting does not
  const ms = Math.round(used() - before);
  for (const buffer of buffers) buffer.destroy();
  const error = await device.popErrorScope();
  if (error) throw new Error(`bench: expected a pipeline that can be dispatched, got '${error.message}'`);
  return ms;
}
