import {
  checkFields,
  disposeWeights,
  type FileSource,
  type FileTarget,
  listIssues,
  loadWeights,
  printable,
  saveWeights,
  type Weights,
} from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import { en } from 'zod/locales';
import * as z from 'zod/mini';
import type { Best } from './best.ts';
import type { PlateauState } from './learning-rate.ts';
import type { TrainingState } from './train.ts';

/** What may be kept beside a training state. */
export interface TrainingExtras {
  readonly best?: Best | undefined;
  readonly plateau?: PlateauState | undefined;
  /** Anything else that JSON can hold, such as seeds or a curve. */
  readonly notes?: unknown;
}

/** What a tensor's name begins with, before a colon. */
const kinds = ['weight', 'm', 'v', 'best'] as const;

// zod/mini, which bundles for browsers carry a quarter of; its messages are chosen at the call
const { localeError } = en();

const count = z.int().check(z.nonnegative());
const header = z.strictObject({
  format: z.literal('slimsam-training'),
  position: z.strictObject({ epoch: count, batch: count, step: count }),
  optimizerStep: count,
  bestMetric: z._default(z.nullable(z.number()), null),
  plateau: z._default(
    z.nullable(z.strictObject({ learningRate: z.number(), best: z.nullable(z.number()), bad: count })),
    null,
  ),
  notes: z.unknown(),
});

/** Writes a training state, whole or not at all: one safetensors file with weights, moments, best weights and position. */
export async function saveTraining(file: FileTarget, state: TrainingState, extras: TrainingExtras = {}): Promise<void> {
  checkFields('saveTraining', state, { weights: 'object', optimizer: 'object', position: 'object' });
  const { weights, optimizer, position } = state;
  const { best, plateau, notes } = extras;
  const tables = { weight: weights, m: optimizer.m, v: optimizer.v, best: best?.weights ?? {} };
  const tensors = Object.entries(tables).flatMap(([kind, table]) =>
    Object.entries(table).map(([name, tensor]) => [`${kind}:${name}`, tensor] as const),
  );
  const training: z.infer<typeof header> = {
    format: 'slimsam-training',
    position,
    optimizerStep: optimizer.step,
    bestMetric: best?.metric ?? null,
    plateau: plateau ?? null,
    notes: notes ?? null,
  };
  await saveWeights(file, Object.fromEntries(tensors), { metadata: { training: JSON.stringify(training) } });
}

/**
 * Reads what `saveTraining` wrote. The caller owns the tensors.
 *
 * @throws when the file is not a training state
 */
export async function loadTraining(source: FileSource): Promise<{ readonly state: TrainingState } & TrainingExtras> {
  const { weights: tensors, metadata } = await loadWeights(source);
  try {
    const parsed = header.safeParse(parseJson(metadata.training), { error: localeError });
    if (!parsed.success) throw new Error(listIssues(parsed.error.issues));
    const tables = new Map(kinds.map((kind) => [kind, new Map<string, tf.Tensor>()]));
    for (const [name, tensor] of Object.entries(tensors)) {
      const kind = kinds.find((kind) => name.startsWith(`${kind}:`));
      if (!kind) throw new Error(`a tensor '${printable(name)}', not ${kinds.join(':, ')}:`);
      tables.get(kind)!.set(name.slice(kind.length + 1), tensor);
    }
    const [weight, m, v, best] = kinds.map((kind): Weights => Object.fromEntries(tables.get(kind)!));
    const { position, optimizerStep, bestMetric, plateau, notes } = parsed.data;
    if (bestMetric === null && tables.get('best')!.size > 0) throw new Error('best weights without their metric');
    return {
      state: { weights: weight!, optimizer: { step: optimizerStep, m: m!, v: v! }, position },
      best: bestMetric === null ? undefined : { metric: bestMetric, weights: best! },
      plateau: plateau ?? undefined,
      notes,
    };
  } catch (error) {
    disposeWeights(tensors);
    const name = source instanceof Blob || source instanceof Uint8Array ? 'the given bytes' : `'${source}'`;
    throw new Error(
      `loadTraining: expected ${name} to be a file of saveTraining, got ${error instanceof Error ? error.message : error}`,
    );
  }
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null;
  }
}
