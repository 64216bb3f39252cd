import { loadWeights, saveWeights, type Weights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';
import { z } from 'zod';
import type { TrainingState } from './train.ts';

const count = z.int().nonnegative();
const header = z.object({
  format: z.literal('slimsam-training'),
  position: z.object({ epoch: count, batch: count, step: count }),
  optimizerStep: count,
  notes: z.unknown(),
});

/**
 * Writes a training state, whole or not at all: one safetensors file with weights, moments and position.
 *
 * @param options.notes anything of the caller's that JSON can hold, such as a plateau's state or a curve
 */
export async function saveTraining(
  path: string,
  state: TrainingState,
  options: { readonly notes?: unknown } = {},
): Promise<void> {
  const { weights, optimizer, position } = state;
  const named = (prefix: string, table: Weights) =>
    Object.entries(table).map(([name, tensor]) => [`${prefix}:${name}`, tensor] as const);
  const tensors = Object.fromEntries([
    ...named('weight', weights),
    ...named('m', optimizer.m),
    ...named('v', optimizer.v),
  ]);
  const training = {
    format: 'slimsam-training',
    position,
    optimizerStep: optimizer.step,
    notes: options.notes ?? null,
  };
  await saveWeights(path, tensors, { metadata: { training: JSON.stringify(training) } });
}

/**
 * Reads what `saveTraining` wrote. The caller owns the tensors.
 *
 * @throws when the file is not a training state
 */
export async function loadTraining(path: string): Promise<{ state: TrainingState; notes: unknown }> {
  const { weights: tensors, metadata } = await loadWeights(path);
  const parsed = header.safeParse(parseJson(metadata.training));
  if (!parsed.success) {
    for (const tensor of Object.values(tensors)) tensor.dispose();
    throw new Error(`loadTraining: expected '${path}' to be a training state, got:\n${z.prettifyError(parsed.error)}`);
  }
  const tables: Record<string, Record<string, tf.Tensor>> = { weight: {}, m: {}, v: {} };
  for (const [name, tensor] of Object.entries(tensors)) {
    const at = name.indexOf(':');
    tables[name.slice(0, at)]![name.slice(at + 1)] = tensor;
  }
  const { position, optimizerStep, notes } = parsed.data;
  return {
    state: { weights: tables.weight!, optimizer: { step: optimizerStep, m: tables.m!, v: tables.v! }, position },
    notes,
  };
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null');
  } catch {
    return null;
  }
}
