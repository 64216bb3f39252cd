import { existsSync } from 'node:fs';
import path from 'node:path';
import { meanWeights } from '@slimsam/distill';
import { readSa1b } from '@slimsam/eval';
import { formatPlan, loadPlan, type Plan, planPathOf } from '@slimsam/prune';
import { disposeWeights, type Weights } from '@slimsam/weights';
import { Command, Option } from 'commander';
import { compress } from '../../compress/compress.ts';
import type { CompressEvent, Compressed } from '../../compress/events.ts';
import { hashWeights } from '../../compress/facts.ts';
import { evaluateSam } from '../../evaluate/evaluate-sam.ts';
import { planMemory } from '../../memory/plan-memory.ts';
import { loadModel } from '../../models/load-model.ts';
import { isSam, type Model, networkOf } from '../../models/network.ts';
import { openPhotographs } from '../../photographs/open-photographs.ts';
import type { Recipe } from '../../recipe/recipe.ts';
import { finishRun } from '../../report/finish-run.ts';
import { openRun } from '../../run/open-run.ts';
import { openTeacherCache } from '../../teacher-cache/open-teacher-cache.ts';
import { evaluationTable } from '../evaluation-table.ts';
import { byJobs, type Crew, type ManyMachinesOptions, onManyMachines, withCrew } from '../many-machines.ts';
import {
  byteCount,
  type CommonOptions,
  common,
  inRunFolder,
  largeCount,
  positiveNumber,
  pruningRatio,
  type RunFolderOptions,
  userPath,
  userPaths,
} from '../options.ts';
import { bytes } from '../output.ts';
import { present } from '../present.ts';
import { type OneRecipe, onRecipe, recipeNames, recipeOf } from '../recipe-options.ts';
import { type Session, withBackend } from '../with-backend.ts';
import { embedByJobs, scoreByJobs } from './compress-by-jobs.ts';

interface Options extends CommonOptions, RunFolderOptions, ManyMachinesOptions, OneRecipe {
  readonly images: string;
  readonly memory?: number;
  readonly cache?: string;
  readonly start?: readonly string[];
  readonly pause?: number;
  readonly anyAdapter: boolean;
}

/** `slimsam compress MODEL --images DIR`: the whole recipe, in a run folder that can go on. */
export function compressCommand(signal: AbortSignal): Command {
  const command = new Command('compress')
    .description('makes a model small: prunes it and distils it back on photographs, without labels')
    .argument('<model>', 'a file, folder, address or Hub id of a SAM or a plain ViT')
    .requiredOption('--images <source>', 'a folder (recursive), a list file, a tar, a COCO file', userPath)
    .option('--ratio <share>', 'of the channels to remove in each half (default: 0.5)', pruningRatio)
    .addOption(
      new Option('--params <count>', 'parameters of the whole to come to, like 9.1M')
        .argParser(largeCount)
        .conflicts('ratio'),
    )
    .addOption(
      new Option('--macs <count>', 'MACs of the encoder to come to, like 23G')
        .argParser(largeCount)
        .conflicts(['ratio', 'params']),
    )
    .addOption(
      new Option('--recipe <name>', 'of pruning and aligning').choices([...recipeNames, 'align']).default('slimsam'),
    )
    .option(
      '--start <run...>',
      "folders of runs whose slim model, or the mean of several of one plan, goes on to be aligned, by the recipe 'align'",
      userPaths,
    );
  onRecipe(command)
    .option('--memory <bytes>', 'of the adapter, like 16GiB: picks batch and recomputation for it', byteCount)
    .option(
      '--cache <folder>',
      "keeps the original's embeddings there, in half precision: later epochs need no teacher; beside --flip or --jitter it needs --views",
      userPath,
    )
    .option('--pause <minutes>', 'stops after so many minutes of this call, with its state written', positiveNumber)
    .option('--any-adapter', 'the run may go on on another adapter, no longer bit for bit', false);
  onManyMachines(command);
  inRunFolder(command, {
    validate: "mIoU chooses, not the features' error",
    seed: 'of noise, samples and order',
    run: 'slimsam-run',
  });
  return common(
    command,
    'slimsam compress sam_vit_b_01ec64.pth --images photographs --ratio 0.5 --run out/slim50',
  ).action((source: string, options: Options) =>
    withBackend(options, signal, (session) => run(session, source, options)),
  );
}

async function run(session: Session, source: string, options: Options): Promise<void> {
  if (!byJobs(options)) return runWith(undefined, { session, source, options });
  const name = ['compress', source, options.images, options.run];
  const { signal } = session;
  const own = { adapter: session.adapter, work: 'training' };
  await withCrew(options, { run: name, own, output: session, signal }, (crew) =>
    runWith(crew, { session, source, options }),
  );
}

/** The whole command; a crew scores and embeds the photographs, where there is one. */
async function runWith(
  crew: Crew | undefined,
  { session, source, options }: { session: Session; source: string; options: Options },
): Promise<void> {
  const { signal } = session;
  const { subset, seed, strict, size, validate } = options;
  if ((options.start === undefined) === (options.recipe === 'align'))
    throw new Error(
      `--start: expected it with the recipe 'align', and only there, got ${options.start ? `the recipe '${options.recipe}'` : 'none'}`,
    );
  const model = await loadModel(source, options);
  if (validate !== undefined && !isSam(model))
    throw new Error('--validate: expected a SAM, got a plain ViT, which has no masks; leave it out');
  const recipe = await recipeOf(model, options);
  const start = options.start && (await startOf(options.start, options));
  const { estimate, ...how } = await howOf(session, model, recipe, options);
  const photographs = await openPhotographs(options.images, { strict, seed, signal, ...(subset && { subset }) });
  try {
    const folder = await openRun(options.run);
    try {
      const { held, cache } = options;
      const key = async () => ({
        ...{ weights: await hashWeights(model.weights), photographs: photographs.identity },
        size: networkOf(model, { size }).size,
      });
      const end = performance.now() + (options.pause ?? Number.POSITIVE_INFINITY) * 60_000;
      const late = () => performance.now() > end;
      const teacherCache = cache === undefined ? undefined : await openTeacherCache(cache, { key: await key() });
      const sent = { photographs, seed, size, signal };
      const varied = recipe.steps.some((step) => step.kind === 'align' && step.augment);
      if (crew && teacherCache && !varied) await embedByJobs(crew, { ...sent, model, cache: teacherCache });
      const stages = compress<Model>(model, {
        ...{ photographs, recipe, seed, signal, ...how },
        ...{
          run: folder,
          facts: options.anyAdapter ? {} : { adapter: session.adapter },
          saveMinutes: () => (late() ? 0 : options.save),
        },
        ...(teacherCache && { teacherCache }),
        ...(start && { start }),
        ...(crew && { score: scoreByJobs(crew, sent) }),
        ...(size !== undefined && { size }),
        ...(held !== undefined && { held }),
        ...(validate !== undefined && { measure: (student: Model) => miouOf(student, validate, signal) }),
      });
      session.note(`computing on ${session.adapter}`);
      const presented = await present(session, stoppedWhen(late, stages)).catch((error: unknown) => {
        if (!(error instanceof Paused)) throw error;
        session.result(`${error.message}; the same command goes on`, { paused: true });
        return undefined;
      });
      if (!presented) return;
      const { result, seconds } = presented;
      const facts = {
        seconds,
        adapter: session.adapter,
        ...(crew && { adapters: crew.adapters() }),
        photographs: photographs.names.length,
        waited: photographs.waited,
        memory: { ...(estimate !== undefined && { estimate }), peak: process.resourceUsage().maxRSS * 1024 },
      };
      const finished = await finishRun(options.run, { original: model, result, facts, photographs, validate, signal });
      const lines = [
        ...(finished.evaluations ? [evaluationTable(finished.evaluations)] : []),
        ...(result.validation ? [errorLine(result.validation)] : []),
        ...(result.skipped.length > 0 ? [`${result.skipped.length} photographs skipped`] : []),
        memoryLine(facts.memory),
        `slim model: ${finished.model}`,
        `report: ${finished.report}`,
      ];
      session.result(lines.join('\n'), finished);
    } finally {
      await folder.close();
    }
  } finally {
    await photographs.close();
  }
}

/** The mean of the slim models of runs, and the plan that they have in common. @throws when they have not */
async function startOf(runs: readonly string[], options: Options): Promise<{ weights: Weights; plan: Plan }> {
  const files = runs.map((run) => path.join(run, 'slim.safetensors'));
  const open = files.findIndex((file) => !existsSync(planPathOf(file)));
  if (open >= 0)
    throw new Error(`--start: expected a run that has finished, with its slim model and plan, got '${runs[open]}'`);
  const plans = await Promise.all(files.map((file) => loadPlan(planPathOf(file))));
  const other = plans.findIndex((plan) => formatPlan(plan) !== formatPlan(plans[0]!));
  if (other > 0)
    throw new Error(
      `--start: expected runs that kept the same channels, got others in '${runs[other]}' than in '${runs[0]}'`,
    );
  const models = await Promise.all(files.map((file) => loadModel(file, options)));
  const weights = meanWeights(models.map((model) => model.weights));
  for (const model of models) disposeWeights(model.weights);
  return { weights, plan: plans[0]! };
}

/** The end of `--pause`. */
class Paused extends Error {}

/** The events of a run until its first checkpoint after the time is over, which comes with the next step. @throws `Paused` then */
async function* stoppedWhen(
  late: () => boolean,
  stages: AsyncGenerator<CompressEvent, Compressed, undefined>,
): AsyncGenerator<CompressEvent, Compressed, undefined> {
  try {
    for (let next = await stages.next(); ; next = await stages.next()) {
      if (next.done) return next.value;
      yield next.value;
      if (next.value.type === 'checkpoint' && late())
        throw new Paused(`paused after step ${next.value.step} of '${next.value.name}'`);
    }
  } finally {
    await stages.return(undefined as never);
  }
}

function memoryLine({ estimate, peak }: { estimate?: number; peak: number }): string {
  return `memory of the process: ${bytes(peak)} at most${estimate === undefined ? '' : `, ${bytes(estimate)} estimated`}`;
}

function errorLine({ relative, cosine }: { relative: number; cosine: number }): string {
  return `features of held-back photographs: relative error ${relative.toFixed(4)}, cosine ${cosine.toFixed(4)}`;
}

/** Batch, accumulation and recomputation: as asked for, or chosen for the memory. @throws when a batch of 1 takes more, saying how much */
async function howOf(
  session: Session,
  model: Model,
  recipe: Recipe,
  options: Options,
): Promise<{ batch: number; accumulate: number; recompute: boolean; estimate?: number }> {
  const { memory, batch, accumulate, recompute, size } = options;
  if (memory === undefined) return { batch, accumulate, recompute };
  const plan = await planMemory(model, {
    ...{ recipe, limit: memory, batch: batch * accumulate },
    ...(size !== undefined && { size }),
  });
  session.note(plan.text);
  return { batch: plan.batch, accumulate: plan.accumulate, recompute: plan.recompute, estimate: plan.estimate.process };
}

async function miouOf(student: Model, folder: string, signal: AbortSignal): Promise<number> {
  if (!isSam(student)) throw new Error('compress: expected a SAM to measure, got a plain ViT');
  const { miou } = await evaluateSam(student, readSa1b(folder, { signal }), { latency: false, signal });
  return miou!;
}
