import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { initSam, parseSamConfig, type Sam, type SamPreset, samPresets, samWeightShapes } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import sharp from 'sharp';
import { costPhases, type ModelCosts, measureCosts } from '../../evaluate/measure-costs.ts';
import { looksOf } from '../../memory/estimate.ts';
import { nullGpu } from '../../memory/null-gpu.ts';
import { loadOnlySam } from '../../models/load-model.ts';
import { type CommonOptions, common, naturalNumber, userPath } from '../options.ts';
import { type Output, output, table } from '../output.ts';
import { withBackend } from '../with-backend.ts';

interface Options extends CommonOptions {
  readonly image?: string;
  readonly rounds: number;
}

/** `slimsam costs MODEL…`: parameters, MACs, bytes, memory and latency of SAMs side by side. */
export function costsCommand(signal: AbortSignal): Command {
  const command = new Command('costs')
    .description('measures what SAMs cost: parameters, MACs, bytes, memory, latency of each part, the models in turns')
    .argument(
      '<models...>',
      `files, folders, addresses or Hub ids of SAMs; random:NAME is one with random weights (${Object.keys(samPresets).join(', ')}), random:NAME@0.5 uniformly pruned by half`,
    )
    .option('--image <file>', 'a photograph; a grey one of 1024 x 683 pixels unless given', userPath)
    .option('--rounds <n>', 'rounds that count; 0: counts and memory alone, nothing is computed', naturalNumber, 5);
  return common(command, 'slimsam costs sam_vit_b_01ec64.pth slim.safetensors --image cat.jpg').action(
    async (sources: string[], { image, rounds, ...options }: Options) => {
      const work = await mkdtemp(path.join(tmpdir(), 'slimsam-costs-'));
      try {
        const file = image ?? (await greyPhotograph(path.join(work, 'grey.jpg')));
        const measure = async (shown: Output, adapter: string, load: (source: string) => Promise<Sam>) => {
          const sams = new Map<string, Sam>();
          for (const source of sources) {
            if (sams.has(source)) throw new Error(`costs: expected models that differ, got '${source}' twice`);
            shown.note(`loading ${source}`);
            sams.set(source, await load(source));
          }
          const costs = await measureCosts(sams, { image: file, rounds, signal });
          const models = Object.fromEntries(costs);
          shown.result(`${costsTable(costs)}\n${adapter}`, { adapter, rounds, models });
        };
        if (rounds === 0) {
          const before = tf.getBackend();
          const backend = await useWebgpu({ name: 'slimsam-costs', gpu: nullGpu(looksOf(undefined)) });
          try {
            await measure(output(options), 'nothing was computed', (source) =>
              load(source, { ...options, hollow: true }),
            );
          } finally {
            backend.dispose();
            if (before) await tf.setBackend(before);
          }
          return;
        }
        await withBackend(options, signal, (session) =>
          measure(session, session.adapter, (source) => load(source, { ...options, hollow: false })),
        );
      } finally {
        await rm(work, { recursive: true });
      }
    },
  );
}

async function greyPhotograph(file: string): Promise<string> {
  await sharp({ create: { width: 1024, height: 683, channels: 3, background: '#808080' } })
    .jpeg()
    .toFile(file);
  return file;
}

/** A model's file, or weights by a name. @throws when the name is none */
async function load(source: string, options: CommonOptions & { readonly hollow: boolean }): Promise<Sam> {
  const [, name, share] = /^random:([\w-]+)(?:@([\d.]+))?$/.exec(source) ?? [];
  if (!source.startsWith('random:')) return loadOnlySam(source, options);
  const ratio = share === undefined ? 0 : Number(share);
  if (!name || !Object.hasOwn(samPresets, name) || !(ratio >= 0 && ratio < 1)) {
    throw new Error(
      `MODEL: expected random:NAME or random:NAME@RATIO of ${Object.keys(samPresets).join(', ')} with a ratio in [0, 1), got '${source}'`,
    );
  }
  const { config, sizes } = pruned(samPresets[name as keyof typeof samPresets], ratio);
  if (!options.hollow) return { config, weights: initSam(config, sizes, { seed: 1 }) };
  const shapes = Object.entries(samWeightShapes(config, sizes));
  return { config, weights: Object.fromEntries(shapes.map(([weight, shape]) => [weight, tf.zeros([...shape])])) };
}

/** The sizes after uniform pruning; MLPs keep a multiple of the heads, as the paper's. */
function pruned({ config, sizes }: SamPreset, ratio: number): SamPreset {
  const headWidth = Math.floor(config.headWidth * (1 - ratio));
  const mlpWidth = config.heads * Math.floor((sizes.mlpWidth * (1 - ratio)) / config.heads);
  const width = config.heads * headWidth;
  return { config: parseSamConfig({ ...config, headWidth }), sizes: { ...sizes, width, mlpWidth } };
}

function costsTable(costs: ReadonlyMap<string, ModelCosts>): string {
  const phases = costPhases.filter((phase) => [...costs.values()].some(({ latency }) => latency[phase]));
  const columns = [
    'model',
    'parameters',
    'encoder',
    'MACs, G',
    'the paper’s, G',
    'with attention, G',
    'weights, MB',
    'peak, MiB',
  ];
  const rows = [...costs].map(([name, one]) => [
    ...[
      name,
      one.parameters,
      one.encoderParameters,
      (one.macs / 1e9).toFixed(3),
      (one.paperMacs / 1e9).toFixed(3),
      (one.macsWithAttention / 1e9).toFixed(1),
    ],
    ...[(one.weightBytes / 1e6).toFixed(1), one.peakBytes === undefined ? '–' : Math.round(one.peakBytes / 2 ** 20)],
  ]);
  const counts = table(columns, rows);
  if (phases.length === 0) return counts;
  const times = [...costs].map(([name, { latency }]) => [
    name,
    ...phases.map((phase) => {
      const time = latency[phase];
      return time ? `${time.median.toFixed(1)} (${time.p95.toFixed(1)})` : '–';
    }),
  ]);
  return `${counts}\n${table(['ms, median (p95)', ...phases], times)}`;
}
