import { existsSync } from 'node:fs';
import path from 'node:path';
import { loadTraining, saveTraining } from '@slimsam/distill';
import { type Sam, saveSam } from '@slimsam/vit';
import { checkFields, disposeWeights, makeFolder, writeFileAtomic } from '@slimsam/weights';
import { measurePrompts, type PromptIous } from './measure-prompts.ts';
import { isResumable, type TrainSamOptions, trainSam } from './train-sam.ts';

/** One checkpoint of a run. */
export interface TrainingRow extends Partial<PromptIous> {
  readonly step: number;
  /** Mean since the checkpoint before. */
  readonly loss: number;
  /** Of all calls together. */
  readonly seconds: number;
}

/** Where a run is kept and when it ends. */
export interface TrainRunOptions extends Omit<TrainSamOptions, 'resume' | 'progress'> {
  /** Holds `training.safetensors` (all that is needed to go on), `model.safetensors` (the mean weights, F16) and `training.json`. */
  readonly folder: string;
  /** What the run depends on: JSON; a folder of another run is refused. */
  readonly facts: object;
  readonly adapter: string;
  /** Steps between checkpoints, a multiple of eight. */
  readonly every: number;
  /** Minutes of training in all: the cosine ends then, if not with the steps. */
  readonly minutes?: number;
  /** Stops after so many minutes of this call, with its state written. */
  readonly pause?: number;
  /** A folder in SA-1B's format: mIoU at every checkpoint. */
  readonly validate?: string | undefined;
}

export type TrainRunEvent =
  | {
      readonly type: 'step';
      readonly step: number;
      readonly loss: number;
      readonly parts: Readonly<Record<string, number>>;
    }
  | ({ readonly type: 'checkpoint' } & TrainingRow);

interface Notes {
  readonly facts: object;
  readonly adapters: string[];
  readonly curve: TrainingRow[];
}

/**
 * `trainSam` in a folder: killed, the same call goes on after the last checkpoint, also on another machine; aborted, after the step it was in
 * (or the next), whose state is written first.
 *
 * @throws when the folder is another run's, and as `trainSam` does
 */
export async function* trainRun(sam: Sam, options: TrainRunOptions): AsyncGenerator<TrainRunEvent, void, undefined> {
  checkFields('trainRun', sam, { weights: 'object', config: 'object' });
  checkFields('trainRun', options, { folder: 'string' });
  const { folder, facts, adapter, every, validate, signal, ...rest } = options;
  const { minutes = Number.POSITIVE_INFINITY, pause = Number.POSITIVE_INFINITY } = options;
  signal?.throwIfAborted();
  if (every % 8 !== 0) throw new Error(`trainRun: expected every to be a multiple of 8 steps, got ${every}`);
  await makeFolder(folder);
  const checkpoint = path.join(folder, 'training.safetensors');
  const saved = existsSync(checkpoint) ? await loadTraining(checkpoint) : undefined;
  const notes = (saved?.notes ?? { facts, adapters: [], curve: [] }) as Notes;
  if (JSON.stringify(notes.facts) !== JSON.stringify(facts))
    throw new Error(
      `trainRun: expected in '${folder}' the run with ${JSON.stringify(notes.facts)}, got ${JSON.stringify(facts)}; take another folder`,
    );
  if (!notes.adapters.includes(adapter)) notes.adapters.push(adapter);
  const before = notes.curve.at(-1)?.seconds ?? 0;
  const start = performance.now();
  const seconds = () => before + (performance.now() - start) / 1000;
  let losses: number[] = [];
  try {
    for await (const { position, loss, parts, state } of trainSam(sam, {
      ...rest,
      progress: () => seconds() / (minutes * 60),
      resume: saved && { ...saved.state, average: saved.best!.weights },
    })) {
      losses.push(loss);
      const { step } = position;
      yield { type: 'step', step, loss, parts };
      const late = seconds() > minutes * 60 || seconds() - before > pause * 60;
      const due = step % every === 0 || late || signal?.aborted;
      if (step !== options.steps && !(due && isResumable(step))) {
        if (step < 8) signal?.throwIfAborted(); // nothing yet that could be written
        continue;
      }
      const mean = { weights: { ...sam.weights, ...state.average }, config: sam.config };
      const found = await measured(mean, { validate, signal });
      const row = { step, loss: losses.reduce((sum, x) => sum + x, 0) / losses.length, seconds: seconds(), ...found };
      losses = [];
      notes.curve.push(row);
      // the mean of the weights stands where the best weights would
      await saveTraining(checkpoint, state, { best: { metric: found.point ?? 0, weights: state.average }, notes });
      await saveSam(path.join(folder, 'model.safetensors'), mean, { dtype: 'F16' });
      await writeFileAtomic(path.join(folder, 'training.json'), `${JSON.stringify(notes, null, 2)}\n`);
      yield { type: 'checkpoint', ...row };
      signal?.throwIfAborted();
      if (late) return;
    }
  } finally {
    if (saved) {
      const { weights, optimizer } = saved.state;
      for (const table of [weights, optimizer.m, optimizer.v, saved.best!.weights]) disposeWeights(table);
    }
  }
}

/** Nothing without a folder to validate on, or when the signal aborts: the state is to be written then. */
async function measured(
  sam: Sam,
  { validate, signal }: Pick<TrainRunOptions, 'validate' | 'signal'>,
): Promise<Partial<PromptIous>> {
  if (validate === undefined) return {};
  return measurePrompts(sam, validate, { signal }).catch((error: unknown) => {
    if (signal?.aborted) return {};
    throw error;
  });
}
