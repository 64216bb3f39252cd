/** Compresses the small SAM in examples/teacher on a folder of JPEG files, evaluates it and writes a report. */
import { mkdir, readFile } from 'node:fs/promises';
import { generateScenes } from '@slimsam/eval';
import { parseSamConfig, preprocess, readImageFolder } from '@slimsam/vit';
import { disposeWeights, loadWeights, saveWeights, writeFileAtomic } from '@slimsam/weights';
import { SingleBar } from 'cli-progress';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { backends, openBackend } from './backend.ts';
import { compressSam, pruneBottleneck, pruneEmbedding } from './compress-sam.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { naturalNumber, positiveInteger, pruningRatio } from './options.ts';
import { report } from './quickstart-report.ts';

const options = new Command('quickstart')
  .description('compresses a small SAM by the SlimSAM recipe')
  .option('--images <folder>', 'JPEG files to train on, without labels (default: synthetic scenes are made)')
  .option('--ratio <share>', 'of the channels to remove', pruningRatio, 0.5)
  .option('--epochs <n>', 'of each stage', positiveInteger, 10)
  .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
  .option('--seed <n>', 'of scenes, noise and order', naturalNumber, 1)
  .option('--out <folder>', 'where the results go', 'out/quickstart')
  .option('--strict', 'an image that cannot be decoded is an error')
  .parse()
  .opts<{
    images?: string;
    ratio: number;
    epochs: number;
    backend: string;
    seed: number;
    out: string;
    strict?: boolean;
  }>();

const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('stopped')));
const { signal } = stop;
const seconds: Record<string, number> = {};

/** Runs one phase with a bar on a terminal, or a line elsewhere; its seconds go into the results. */
async function phase<T>(name: string, total: number, run: (tick: (done: number) => void) => Promise<T>): Promise<T> {
  const start = performance.now();
  const bar = process.stderr.isTTY
    ? new SingleBar({ format: `${name.padEnd(20)} {bar} {value}/{total}  {eta} s left` })
    : undefined;
  bar?.start(total, 0);
  try {
    return await run((done) => bar?.update(done));
  } finally {
    bar?.stop();
    seconds[name] = (performance.now() - start) / 1000;
    if (!bar) console.log(`${name}: ${seconds[name]!.toFixed(1)} s`);
  }
}

let close = () => {};
try {
  const backend = await openBackend(options.backend);
  close = backend.close;
  console.log(`computing on ${pc.bold(backend.adapter)}`);
  const teacherFolder = new URL('teacher/', import.meta.url).pathname;
  const config = parseSamConfig(JSON.parse(await readFile(`${teacherFolder}config.json`, 'utf8')));
  const { weights: teacher } = await loadWeights(`${teacherFolder}teacher.safetensors`);
  await mkdir(options.out, { recursive: true });
  const [folder, testFolder] = [options.images ?? `${options.out}/images`, `${options.out}/test`];
  const scenes = (where: string, count: number, seed: number, name: string) =>
    phase(name, count, async (tick) => {
      let made = 0;
      await generateScenes({ folder: where, count, seed, size: config.imageSize, signal, onScene: () => tick(++made) });
    });
  if (!options.images) await scenes(folder, 96, 7_000_000 + options.seed, 'make images');
  await scenes(testFolder, 40, 8_000_000, 'make test scenes');
  const images: Float32Array[] = [];
  let skipped = 0;
  const onSkip = (path: string, error: Error) => console.warn(`skipped ${++skipped}: ${path} (${error.message})`);
  for await (const { image } of readImageFolder(folder, { strict: options.strict ?? false, onSkip, signal })) {
    const { pixels } = preprocess(image, config);
    images.push((await pixels.data()) as Float32Array);
    pixels.dispose();
  }

  const recipe = { ...options, config, images, signal };
  const curves: [number, number][][] = [[], []];
  const half = await pruneEmbedding(teacher, { ...recipe, onStep: () => {} });
  const pruned = await pruneBottleneck(half, { ...recipe, onStep: () => {} });
  const slim = await phase('compress', 100, (tick) =>
    compressSam(teacher, {
      ...recipe,
      onStep: ({ stage, step, steps, loss }) => {
        curves[stage - 1]!.push([step, loss]);
        tick(Math.round((50 * step) / steps) + 50 * (stage - 1));
      },
    }),
  );
  const models = { teacher, pruned, slim };
  const results: Record<string, Evaluation> = {};
  for (const [name, weights] of Object.entries(models)) {
    let done = 0;
    results[name] = await phase(`evaluate ${name}`, 40, (tick) =>
      evaluate(weights, config, { folder: testFolder, signal, onImage: () => tick(++done) }),
    );
  }
  await saveWeights(`${options.out}/slim.safetensors`, slim);
  await writeFileAtomic(`${options.out}/config.json`, `${JSON.stringify(config, null, 2)}\n`);
  const facts = {
    ...results,
    seconds,
    adapter: backend.adapter,
    images: images.length,
    skipped,
    ratio: options.ratio,
    epochs: options.epochs,
    seed: options.seed,
  };
  await writeFileAtomic(`${options.out}/results.json`, `${JSON.stringify(facts, null, 2)}\n`);
  await report({ folder: options.out, testFolder, config, models, results, curves, adapter: backend.adapter });
  for (const weights of [half, ...Object.values(models)]) disposeWeights(weights);
} catch (error) {
  console.error(pc.red((error as Error).message));
  process.exitCode = 1;
} finally {
  close();
}
