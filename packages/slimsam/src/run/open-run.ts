import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { loadTraining, saveTraining } from '@slimsam/distill';
import { formatPlan, parsePlan, planPathOf, savePlan } from '@slimsam/prune';
import { saveSam, saveVit } from '@slimsam/vit';
import { loadWeights, openTensors, printable, saveWeights, writeFileAtomic } from '@slimsam/weights';
import { z } from 'zod';
import type { Compressed } from '../compress/events.ts';
import type { RunFacts, RunStore } from '../compress/run-store.ts';
import { isSam, type Model } from '../models/network.ts';
import { differences } from './difference.ts';
import { lock } from './lock.ts';
import { appendMetric, trimMetrics } from './metrics.ts';

/** A run in a folder. */
export interface RunFolder extends RunStore {
  readonly folder: string;
  /** Lets another process have the folder. */
  close(): Promise<void>;
}

const runFile = z.object({ format: z.literal('slimsam-run'), facts: z.record(z.string(), z.unknown()) });
const notes = z.object({
  validation: z
    .object({
      error: z.number(),
      relative: z.number(),
      cosine: z.number(),
      agreement: z.number().optional(),
      measure: z.number().optional(),
    })
    .optional(),
});

/**
 * Keeps a run in a folder, which is made where it is missing. The process may be killed at any moment: files are whole or not at all, what
 * a killed write left is removed, and the same run goes on, bit for bit as if it had not been broken off.
 *
 * `run.json` what the run depends on; `metrics.jsonl` its events; `step-1.safetensors` … the model after a step; `training-2.safetensors`
 * the training state of the step that is under way; `best.safetensors` the best model of it, which can be loaded; `run.lock` the process.
 *
 * @throws when another process has the folder, or it cannot be written
 */
export async function openRun(folder: string): Promise<RunFolder> {
  await mkdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    const found: Record<string, string> = {
      EEXIST: 'a file there',
      ENOTDIR: 'a file where a folder should be',
      EACCES: 'no permission',
      EROFS: 'a read-only disk',
      ENOSPC: 'a full disk',
    };
    const got = found[error.code ?? ''] ?? error.message;
    throw new Error(
      `run folder: expected '${folder}' to be a folder or to become one, got ${got}; take another folder`,
      {
        cause: error,
      },
    );
  });
  const locked = await lock(folder);
  try {
    for (const name of await readdir(folder)) {
      if (/^\..*\.tmp$|^run\.lock\..*\.dead$/.test(name)) await rm(path.join(folder, name), { force: true });
    }
  } catch (error) {
    await locked.release();
    throw error;
  }
  return { ...storeOf(folder), folder, close: () => locked.release() };
}

function storeOf(folder: string): RunStore {
  const at = (name: string) => path.join(folder, name);
  const stepFile = (index: number) => at(`step-${index + 1}.safetensors`);
  const trainingFile = (index: number) => at(`training-${index + 1}.safetensors`);
  const metrics = at('metrics.jsonl');

  return {
    async begin(facts) {
      await checkFacts(at('run.json'), facts);
      const numbers = await numbered(folder, 'step');
      const finished = Math.max(0, ...numbers);
      const trainings = await numbered(folder, 'training');
      for (const number of trainings) if (number !== finished + 1) await rm(trainingFile(number - 1));
      const under = trainings.includes(finished + 1) ? await stepOf(trainingFile(finished)) : 0;
      await trimMetrics(metrics, { index: finished, step: under });
      return finished;
    },
    async loadStep(index) {
      const { weights, metadata } = await loadWeights(stepFile(index));
      const plan = parsePlan(metadata.plan ?? '', `'${stepFile(index)}'`);
      return { weights, plan, ...notes.parse(JSON.parse(metadata.slimsam ?? 'null')) };
    },
    async saveStep(index, { weights, plan, validation }, needed) {
      const metadata = { slimsam: JSON.stringify({ validation }), plan: formatPlan(plan) };
      await saveWeights(stepFile(index), weights, { metadata });
      await rm(trainingFile(index), { force: true });
      for (const number of await numbered(folder, 'step')) {
        if (number <= index && !needed.includes(number - 1)) await rm(stepFile(number - 1));
      }
    },
    async loadTraining(index) {
      const numbers = await numbered(folder, 'training');
      return numbers.includes(index + 1) ? loadTraining(trainingFile(index)) : undefined;
    },
    saveTraining: (index, state, extras) => saveTraining(trainingFile(index), state, extras),
    saveBest: (model, plan) => savePruned(at('best.safetensors'), { model, plan }),
    note: (event) => appendMetric(metrics, event),
  };
}

/** Saves a slim model with its config, and beside it the plan of what was pruned of the original. */
export async function savePruned(file: string, { model, plan }: Pick<Compressed, 'model' | 'plan'>): Promise<void> {
  await savePlan(planPathOf(file), plan);
  await saveModel(file, model);
}

/** Saves a SAM or a plain ViT with its config. */
async function saveModel(file: string, model: Model): Promise<void> {
  await (isSam(model) ? saveSam(file, model) : saveVit(file, model));
}

async function checkFacts(file: string, facts: RunFacts): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) {
    await writeFileAtomic(file, `${JSON.stringify({ format: 'slimsam-run', facts }, null, 2)}\n`);
    return;
  }
  let there: z.infer<typeof runFile>;
  try {
    there = runFile.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`run folder: expected '${file}' of a run, got another file; take another folder`, { cause: error });
  }
  const found = differences(there.facts, facts);
  if (found.length > 0)
    throw new Error(
      `run folder: expected the run of '${file}', got another: ${printable(found.join('; '))}; repeat its options, or take another folder`,
    );
}

/** The numbers of files like 'step-1.safetensors'. */
async function numbered(folder: string, kind: 'step' | 'training'): Promise<number[]> {
  const pattern = new RegExp(`^${kind}-(\\d+)\\.safetensors$`);
  return (await readdir(folder)).flatMap((name) => pattern.exec(name)?.[1] ?? []).map(Number);
}

/** Optimizer steps that a training state has done, from its header. */
async function stepOf(file: string): Promise<number> {
  const { metadata, close } = await openTensors(file);
  await close();
  const header = z.object({ position: z.object({ step: z.int().nonnegative() }) });
  return header.parse(JSON.parse(metadata.training ?? 'null')).position.step;
}
