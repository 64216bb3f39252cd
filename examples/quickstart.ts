/** Compresses the small SAM in examples/teacher on a folder of JPEG files, evaluates it and writes a report. */
import { mkdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readSa1b } from '@slimsam/eval';
import { generateScenes } from '@slimsam/scenes';
import { loadSam } from '@slimsam/vit';
import { disposeWeights, writeFileAtomic } from '@slimsam/weights';
import { Command, Option } from 'commander';
import { compress, type Evaluation, evaluateSam, slimSam } from 'slimsam';
import {
  backends,
  evaluationTable,
  openBackend,
  openPhotographs,
  openRun,
  output,
  parse,
  present,
  savePruned,
  stopSignal,
  writeRunReport,
} from 'slimsam/node';

const { out, ratio, epochs, seed, tests, ...options } = new Command('quickstart')
  .description('compresses a small SAM by the SlimSAM recipe')
  .option(
    '--images <folder>',
    'JPEG files to train on, without labels (default: synthetic scenes are made)',
    parse.path,
  )
  .option('--ratio <share>', 'of the channels to remove', parse.ratio, 0.5)
  .option('--epochs <n>', 'of each stage', parse.positiveInteger, 8)
  .option('--tests <n>', 'scenes to evaluate on', parse.positiveInteger, 40)
  .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
  .option('--seed <n>', 'of scenes, noise and order', parse.seed, 1)
  .option('--out <folder>', 'where the results go', parse.path, parse.path('out/quickstart'))
  .option('--strict', 'an image that cannot be decoded is an error', false)
  .parse()
  .opts<{
    images?: string;
    ratio: number;
    epochs: number;
    tests: number;
    backend: string;
    seed: number;
    out: string;
    strict: boolean;
  }>();
const signal = stopSignal();

const session = output({ json: false });
const close: (() => unknown)[] = [];
try {
  const backend = await openBackend(options.backend);
  close.push(backend.close);
  const { adapter, reason } = backend;
  if (reason) console.log(`--backend auto: ${reason}`);
  console.log(`computing on ${adapter}`);
  const teacher = await loadSam(fileURLToPath(new URL('teacher/', import.meta.url)));
  const scenes = async (folder: string, count: number, seed: number) => {
    const bar = session.bar('make scenes', count);
    const onScene = ({ done }: { done: number }) => bar.update(done);
    await generateScenes({ folder, count, seed, size: teacher.config.imageSize, signal, onScene });
    bar.stop();
    return folder;
  };
  await mkdir(out, { recursive: true });
  const images = options.images ?? (await scenes(`${out}/images-${seed}`, 96, 7_000_000 + seed));
  const photographs = await openPhotographs(images, { strict: options.strict, signal });
  close.unshift(() => photographs.close());
  const testFolder = await scenes(`${out}/test-${tests}`, tests, 8_000_000);

  // few photographs and epochs: more, smaller steps than the paper's, and a learning rate that begins higher and falls to 0
  const recipe = slimSam({ ratio, epochs, learningRate: 1e-3, decay: 'cosine', sample: 64 });
  const common = { photographs, seed, batch: 2, signal };
  const run = await openRun(`${out}/run`);
  close.unshift(() => run.close());
  const { result, seconds } = await present(session, compress(teacher, { ...common, recipe, run, facts: { adapter } }));
  const untrained = { name: 'untrained', steps: recipe.steps.filter(({ kind }) => kind === 'prune') };
  const pruned = await present(session, compress(teacher, { ...common, recipe: untrained }));

  const models = { teacher, pruned: pruned.result.model, slim: result.model };
  const results: Record<string, Evaluation> = {};
  for (const [name, sam] of Object.entries(models)) {
    const bar = session.bar(`evaluate ${name}`, tests);
    let done = 0;
    results[name] = await evaluateSam(sam, readSa1b(testFolder, { signal }), {
      signal,
      onImage: () => bar.update(++done),
    });
    bar.stop();
  }
  console.log(evaluationTable(results));
  await savePruned(`${out}/slim.safetensors`, result);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomic(`${out}/config.json`, json(teacher.config));
  const skipped = result.skipped.length;
  const count = photographs.names.length - skipped;
  const facts = { ...results, seconds, adapter, images: count, skipped, ratio, epochs, seed };
  await writeFileAtomic(`${out}/results.json`, json(facts));
  const { page } = await writeRunReport(out, {
    title: 'SlimSAM quickstart',
    summary: `A small SAM compressed by pruning and distillation, on ${adapter}. mIoU is on scenes that no model was trained on.`,
    ...{ run: run.folder, models, evaluations: results, labelled: testFolder, signal },
  });
  console.log(`report: ${page}`);
  console.log(
    'scenes are all that this small SAM knows; those for photographs are models/sam-s, sam-s-slim50 and sam-s-slim77',
  );
  await rm(run.folder, { recursive: true }); // what a run goes on from is of no use after its end
  for (const { weights } of Object.values(models)) disposeWeights(weights);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  for (const end of close) await end();
}
