/** Compresses the small SAM in examples/teacher on a folder of JPEG files, evaluates it and writes a report. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { generateScenes } from '@slimsam/scenes';
import { parseSamConfig, saveSam } from '@slimsam/vit';
import { disposeWeights, loadWeights, writeFileAtomic } from '@slimsam/weights';
import pc from 'picocolors';
import { alignBottleneck, alignEmbedding, stepsOf } from './align-sam.ts';
import { openBackend } from './backend.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { phases } from './phases.ts';
import { pruneBottleneck, pruneEmbedding, scored } from './prune-sam.ts';
import { quickstartOptions } from './quickstart-options.ts';
import { report } from './quickstart-report.ts';
import { findImages, fingerprint } from './recipe.ts';

const options = quickstartOptions();
const { out, ratio, epochs, seed } = options;
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(name, () => stop.abort(new Error('stopped; the same command goes on after the last epoch')));
}
const { signal } = stop;
const { run, seconds } = phases();

let close = () => {};
try {
  const backend = await openBackend(options.backend);
  close = backend.close;
  console.log(`computing on ${pc.bold(backend.adapter)}`);
  const teacherFolder = fileURLToPath(new URL('teacher/', import.meta.url));
  const config = parseSamConfig(JSON.parse(await readFile(`${teacherFolder}config.json`, 'utf8')));
  const { weights: teacher } = await loadWeights(`${teacherFolder}teacher.safetensors`);
  await mkdir(out, { recursive: true });
  const scenes = (name: string, folder: string, count: number, seed: number) =>
    run(name, count, async (tick) => {
      let made = 0;
      await generateScenes({ folder, count, seed, size: config.imageSize, signal, onScene: () => tick(++made) });
      return folder;
    });
  const folder = options.images ?? (await scenes('make images', `${out}/images-${seed}`, 96, 7_000_000 + seed));
  const { images, skipped, pixels } = await run('read images', 1, () =>
    findImages(folder, { signal, strict: options.strict }),
  );
  const testFolder = await scenes('make test scenes', `${out}/test-${options.tests}`, options.tests, 8_000_000);

  // SlimSAM: prune the embedding, align the bottleneck, prune the bottleneck, align the embedding
  const recipe = { config, images, ratio, epochs, seed, signal };
  const mark = await fingerprint(teacher, recipe, { pixels, adapter: backend.adapter });
  const curves: [number, number][][] = [[], []];
  const training = (stage: 1 | 2, tick: (done: number) => void) => ({
    checkpoint: `${out}/stage${stage}.training.safetensors`,
    fingerprint: mark,
    onStep(step: number, loss: number) {
      curves[stage - 1]!.push([step, loss]);
      tick(step);
    },
  });
  const [scores, steps] = [Math.min(scored, images.length), stepsOf(recipe)];
  const narrow = await run('prune the embedding', scores, (tick) => pruneEmbedding(teacher, recipe, tick));
  const pruned = await run('both, untrained', scores, (tick) => pruneBottleneck(narrow, recipe, tick));
  const stage1 = await run('align the bottleneck', steps, (tick) =>
    alignBottleneck(narrow, teacher, recipe, training(1, tick)),
  );
  const half = await run('prune the bottleneck', scores, (tick) => pruneBottleneck(stage1, recipe, tick));
  const slim = await run('align the embedding', steps, (tick) =>
    alignEmbedding(half, { original: teacher, previous: stage1 }, recipe, training(2, tick)),
  );

  const models = { teacher, pruned, slim };
  const results: Record<string, Evaluation> = {};
  for (const [name, weights] of Object.entries(models)) {
    let done = 0;
    results[name] = await run(`evaluate ${name}`, options.tests, (tick) =>
      evaluate(weights, config, { folder: testFolder, signal, onImage: () => tick(++done) }),
    );
  }
  const { adapter } = backend;
  const facts = { ...results, seconds, adapter, images: images.length, skipped, ratio, epochs, seed };
  await saveSam(`${out}/slim.safetensors`, { weights: slim, config });
  await writeFileAtomic(`${out}/config.json`, `${JSON.stringify(config, null, 2)}\n`);
  await writeFileAtomic(`${out}/results.json`, `${JSON.stringify(facts, null, 2)}\n`);
  await report({ folder: out, testFolder, config, models, results, curves, adapter, signal });
  for (const stage of [1, 2]) await rm(`${out}/stage${stage}.training.safetensors`);
  for (const weights of [narrow, stage1, half, ...Object.values(models)]) disposeWeights(weights);
} catch (error) {
  console.error(pc.red((error as Error).message));
  process.exitCode = 1;
} finally {
  close();
}
