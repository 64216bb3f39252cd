/** Scoring from given gradients, ranking and surgery at SAM-B's size (random values) on WebGPU, and ranking at SAM-H's by sizes alone. */
import { readFile, writeFile } from 'node:fs/promises';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { encoderAxes, encoderCosts, initSam, samPresets } from '@slimsam/vit';
import { dims, disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { applyPlan, type Gradients, importance, type Plan, parametersTarget, plan } from '../src/index.ts';

const backend = await useWebgpu();
const { config, sizes } = samPresets['sam-vit-base'];
const all = initSam(config, sizes, { seed: 1 });
const [weights, rest] = [true, false].map((wanted) =>
  Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith('image_encoder.') === wanted)),
);
disposeWeights(rest!);
const sums = tf.tidy(() =>
  Object.fromEntries(Object.entries(weights!).map(([name, weight]) => [name, tf.square(weight)])),
);
const gradients: Gradients = { mode: 'squared', sums, loss: 1, count: 1 };
const axes = encoderAxes(weights!, config);
const dimensions = [...dims(axes, weights!).keys()].filter((name) => /^embed$|\.(head|mlp)$/.test(name));
const bytes = () => tf.memory().numBytes;
for (let run = 0; run < 3; run++) {
  const before = bytes();
  const resident = await peak({ from: 'now' });
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const scores = await importance({ criterion: 'taylor', weights: weights!, gradients, axes, dimensions });
  const scored = performance.now();
  const how = { ranking: 'global', normalise: 'standard', roundTo: { embed: 8, 'blocks.*.mlp': 8 } } as const;
  const made: Plan = await plan({ weights: weights!, axes, importance: scores, ratio: 0.5, ...how });
  const ranked = performance.now();
  const slim = applyPlan(made, weights!);
  await Promise.all(
    Object.values(slim)
      .slice(-1)
      .map((weight) => weight.data()),
  );
  const end = performance.now();
  const used = process.cpuUsage(cpu);
  const more = bytes() - before;
  const most = (await peak()) - resident;
  console.log(
    `SAM-B, run ${run + 1}: scoring ${(scored - start).toFixed(0)} ms, ranking ${(ranked - scored).toFixed(0)} ms, surgery ${(end - ranked).toFixed(0)} ms, ` +
      `together ${(end - start).toFixed(0)} ms (CPU ${((used.user + used.system) / 1000).toFixed(0)} ms); ${(more / 2 ** 20).toFixed(0)} MiB more (resident at most ${(most / 2 ** 20).toFixed(0)} MiB more), ${made.after.parameters} parameters`,
  );
  disposeWeights(slim);
}
disposeWeights({ ...weights!, ...Object.fromEntries(Object.entries(sums).map(([name, sum]) => [`${name} sum`, sum])) });

const huge = samPresets['sam-vit-huge'];
const shapes = shapesOf(huge.sizes.width, huge.sizes.depth, huge.sizes.mlpWidth);
const hugeAxes = encoderAxes(shapes, huge.config);
const scores = Object.fromEntries(
  [...dims(hugeAxes, shapes)]
    .filter(([name]) => /^embed$|\.(head|mlp)$/.test(name))
    .map(([name, { size }], seed) => [
      name,
      Float32Array.from({ length: size }, (_, i) => 1 + Math.sin(i * 12.9 + seed)),
    ]),
);
const start = performance.now();
const made = await plan({
  ...{ weights: shapes, axes: hugeAxes, costs: encoderCosts(shapes, huge.config), importance: scores },
  ...{ target: parametersTarget(160e6), ranking: 'global', normalise: 'standard' },
});
console.log(
  `SAM-H by sizes: ${made.before.parameters} -> ${made.after.parameters} parameters in ${(performance.now() - start).toFixed(0)} ms`,
);
backend.dispose();

function shapesOf(C: number, depth: number, mlp: number): Record<string, { shape: number[] }> {
  const width = C / huge.config.heads;
  const linear = (name: string, O: number, I: number) => ({ [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
  const norm = (name: string) => ({ [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
  const blocks = Array.from({ length: depth }, (_, i) => {
    const b = `image_encoder.blocks.${i}`;
    const table = [huge.config.globalBlocks.includes(i) ? 127 : 27, width];
    return {
      ...{ ...norm(`${b}.norm1`), ...norm(`${b}.norm2`), ...linear(`${b}.attn.qkv`, 3 * C, C) },
      ...{ ...linear(`${b}.attn.proj`, C, C), [`${b}.attn.rel_pos_h`]: table, [`${b}.attn.rel_pos_w`]: table },
      ...{ ...linear(`${b}.mlp.lin1`, mlp, C), ...linear(`${b}.mlp.lin2`, C, mlp) },
    };
  });
  const encoder = 'image_encoder';
  const all = Object.assign(
    { [`${encoder}.patch_embed.proj.weight`]: [C, 3, 16, 16], [`${encoder}.patch_embed.proj.bias`]: [C] },
    {
      [`${encoder}.pos_embed`]: [1, 64, 64, C],
      [`${encoder}.neck.0.weight`]: [256, C, 1, 1],
      [`${encoder}.neck.2.weight`]: [256, 256, 3, 3],
    },
    ...blocks,
  ) as Record<string, number[]>;
  return Object.fromEntries(Object.entries(all).map(([name, shape]) => [name, { shape }]));
}

/** The most resident memory in bytes, by Linux's own count, which `from: 'now'` starts anew; device memory too on a software adapter. */
async function peak(options: { from?: 'now' } = {}): Promise<number> {
  if (process.platform !== 'linux') return Number.NaN;
  if (options.from === 'now') await writeFile('/proc/self/clear_refs', '5');
  return Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))![1]) * 1024;
}
