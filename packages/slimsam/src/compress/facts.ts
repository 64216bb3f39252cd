import type { Weights } from '@slimsam/weights';
import { checkFields } from '@slimsam/weights';
import type { Model } from '../models/network.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { Context } from './context.ts';
import type { RunFacts } from './run-store.ts';

/** All that the weights of a run depend on, as JSON. Functions of the user's own stand in it with their text. */
export async function factsOf(
  model: Model,
  context: Context,
  options: {
    readonly recipe: Recipe;
    readonly measure?: unknown;
    readonly start?: { readonly weights: Weights };
    readonly facts?: Readonly<Record<string, unknown>>;
  },
): Promise<RunFacts> {
  const { network, photographs, seed, batch, accumulate, recompute, teacherCache, halfTeacher } = context;
  const facts = {
    model: { kind: network.kind, weights: await hashWeights(model.weights), config: model.config, size: network.size },
    photographs: { count: photographs.names.length, identity: photographs.identity },
    recipe: options.recipe,
    ...(options.start && { start: await hashWeights(options.start.weights) }),
    ...{ seed, batch, accumulate, recompute },
    ...(halfTeacher && { halfTeacher }),
    ...(teacherCache && { teacher: 'half precision, from a cache' }),
    validation: { held: context.held.length, measured: options.measure !== undefined },
    ...options.facts,
  };
  return JSON.parse(
    JSON.stringify(facts, (_, value) =>
      typeof value === 'function' ? String(value) : value === Number.POSITIVE_INFINITY ? 'infinite' : value,
    ),
  );
}

/** SHA-256 of names, shapes and values. */
export async function hashWeights(weights: Weights): Promise<string> {
  checkFields('hashWeights', { weights }, { weights: 'object' });
  const digests: Uint8Array[] = [];
  const digest = async (bytes: Uint8Array<ArrayBuffer>) =>
    new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', bytes));
  for (const [name, weight] of Object.entries(weights).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const values = Float32Array.from(await weight.data<'float32'>());
    const head = new TextEncoder().encode(`${name} [${weight.shape}]`);
    digests.push(await digest(head), await digest(new Uint8Array(values.buffer)));
  }
  const all = new Uint8Array(digests.length * 32);
  for (const [i, bytes] of digests.entries()) all.set(bytes, i * 32);
  return Array.from(await digest(all), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
