import { loadTraining, saveTraining } from '@slimsam/distill';
import { formatPlan, parsePlan } from '@slimsam/prune';
import { saveSam, saveVit } from '@slimsam/vit';
import {
  type FileSource,
  type FileTarget,
  loadWeights,
  openTensors,
  printable,
  saveWeights,
  writeFileAtomic,
} from '@slimsam/weights';
import * as z from 'zod/mini';
import type { CompressEvent } from '../compress/events.ts';
import type { RunFacts, RunStore } from '../compress/run-store.ts';
import { isSam, type Model } from '../models/network.ts';
import { differences } from './difference.ts';
import { metricLine, metricsUpTo, parseMetrics } from './metrics.ts';

/** The files of a run, on a disk or in a browser. */
export interface RunFiles {
  names(): Promise<string[]>;
  /** What an error calls a file. */
  title(name: string): string;
  /** To read a file. */
  source(name: string): Promise<FileSource>;
  /** To write a file, whole or not at all. */
  target(name: string): Promise<FileTarget>;
  /** The text of a file; undefined where there is none. */
  text(name: string): Promise<string | undefined>;
  append(name: string, text: string): Promise<void>;
  /** Removes a file, if there is one. */
  remove(name: string): Promise<void>;
}

const runFile = z.object({ format: z.literal('slimsam-run'), facts: z.record(z.string(), z.unknown()) });
const notes = z.object({
  validation: z.optional(
    z.object({
      error: z.number(),
      relative: z.number(),
      cosine: z.number(),
      agreement: z.optional(z.number()),
      measure: z.optional(z.number()),
    }),
  ),
});

/**
 * A run in files: `run.json` what the run depends on; `metrics.jsonl` its events; `step-1.safetensors` … the model after a step;
 * `training-2.safetensors` the training state of the step that is under way; `best.safetensors` the best model of it, which can be
 * loaded, and `best.plan.json`.
 */
export function runStoreOf(files: RunFiles): RunStore {
  const stepFile = (index: number) => `step-${index + 1}.safetensors`;
  const trainingFile = (index: number) => `training-${index + 1}.safetensors`;

  return {
    async begin(facts) {
      await checkFacts(files, facts);
      const numbers = await numbered(files, 'step');
      const finished = Math.max(0, ...numbers);
      const trainings = await numbered(files, 'training');
      for (const number of trainings) if (number !== finished + 1) await files.remove(trainingFile(number - 1));
      const under = trainings.includes(finished + 1) ? await stepOf(await files.source(trainingFile(finished))) : 0;
      await trimMetrics(files, { index: finished, step: under });
      return finished;
    },
    async loadStep(index) {
      const { weights, metadata } = await loadWeights(await files.source(stepFile(index)));
      const plan = parsePlan(metadata.plan ?? '', `'${files.title(stepFile(index))}'`);
      return { weights, plan, ...notes.parse(JSON.parse(metadata.slimsam ?? 'null')) };
    },
    async saveStep(index, { weights, plan, validation }, needed) {
      const metadata = { slimsam: JSON.stringify({ validation }), plan: formatPlan(plan) };
      await saveWeights(await files.target(stepFile(index)), weights, { metadata });
      await files.remove(trainingFile(index));
      for (const number of await numbered(files, 'step')) {
        if (number <= index && !needed.includes(number - 1)) await files.remove(stepFile(number - 1));
      }
    },
    async loadTraining(index) {
      const numbers = await numbered(files, 'training');
      return numbers.includes(index + 1) ? loadTraining(await files.source(trainingFile(index))) : undefined;
    },
    saveTraining: async (index, state, extras) => saveTraining(await files.target(trainingFile(index)), state, extras),
    saveBest: async (model, plan) => {
      await writeFileAtomic(await files.target('best.plan.json'), formatPlan(plan));
      await saveModel(await files.target('best.safetensors'), model);
    },
    note: (event) => note(files, event),
  };
}

/** Saves a SAM or a plain ViT with its config. */
export async function saveModel(file: FileTarget, model: Model): Promise<void> {
  await (isSam(model) ? saveSam(file, model) : saveVit(file, model));
}

async function note(files: RunFiles, event: CompressEvent): Promise<void> {
  const line = metricLine(event);
  if (line === undefined) return;
  await files.append('metrics.jsonl', line).catch((error: Error & { code?: string }) => {
    const full = error.code === 'ENOSPC' || error.name === 'QuotaExceededError';
    const reason = full
      ? `a full disk (${error.code ?? error.name}); free some space, the run then goes on`
      : error.message;
    throw new Error(`metrics: expected to write to '${files.title('metrics.jsonl')}', got ${reason}`, { cause: error });
  });
}

/** Takes back what was noted after a step of a recipe's step: the run goes on from there. */
async function trimMetrics(files: RunFiles, at: { index: number; step: number }): Promise<void> {
  const name = 'metrics.jsonl';
  const metrics = parseMetrics((await files.text(name)) ?? '', files.title(name));
  const kept = metricsUpTo(metrics, at);
  if (kept.length === metrics.length) return;
  await writeFileAtomic(await files.target(name), kept.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

async function checkFacts(files: RunFiles, facts: RunFacts): Promise<void> {
  const file = files.title('run.json');
  const text = await files.text('run.json');
  if (text === undefined) {
    const json = JSON.stringify({ format: 'slimsam-run', facts }, null, 2);
    await writeFileAtomic(await files.target('run.json'), `${json}\n`);
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
async function numbered(files: RunFiles, kind: 'step' | 'training'): Promise<number[]> {
  const pattern = new RegExp(`^${kind}-(\\d+)\\.safetensors$`);
  return (await files.names()).flatMap((name) => pattern.exec(name)?.[1] ?? []).map(Number);
}

/** Optimizer steps that a training state has done, from its header. */
async function stepOf(source: FileSource): Promise<number> {
  const { metadata, close } = await openTensors(source);
  await close();
  const header = z.object({ position: z.object({ step: z.int().check(z.nonnegative()) }) });
  return header.parse(JSON.parse(metadata.training ?? 'null')).position.step;
}
