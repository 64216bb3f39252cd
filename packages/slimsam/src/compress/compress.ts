import { checkFields, disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type Model, type Network, networkOf } from '../models/network.ts';
import { holdBack } from '../photographs/order.ts';
import type { Photographs } from '../photographs/photographs.ts';
import { checkRecipe, type Recipe, type RecipeStep } from '../recipe/recipe.ts';
import type { TeacherCache } from '../teacher-cache/teacher-cache.ts';
import { alignStep } from './align-step.ts';
import type { Context } from './context.ts';
import type { CompressEvent, Compressed, StageEvent } from './events.ts';
import { factsOf } from './facts.ts';
import { initialise } from './initialise.ts';
import type { PartScorer } from './part-scorer.ts';
import { pruneStep, wholePlan } from './prune-step.ts';
import { reconstructStep } from './reconstruct-step.ts';
import type { RunStore, StepResult } from './run-store.ts';

/** How to compress. */
export interface CompressOptions<M extends Model = Model> {
  /** To score and train on, without labels. */
  readonly photographs: Photographs;
  readonly recipe: Recipe;
  /** Of noise, samples and order; 1 unless given. */
  readonly seed?: number;
  /** Photographs in a batch; 4 unless given. */
  readonly batch?: number;
  /** Batches whose gradients are averaged for one step; 1 unless given. */
  readonly accumulate?: number;
  /** Runs each block again in the backward pass rather than keeping what it computed: less memory, more time. */
  readonly recompute?: boolean;
  /** Runs the original in half precision while it teaches, on adapters that have it (shader-f16): half the memory of its taps. */
  readonly halfTeacher?: boolean;
  /** Keeps the original's embeddings, so that steps without taps of it run it once a photograph. Augmented photographs need `views`. */
  readonly teacherCache?: TeacherCache;
  /** A slim model of this one to go on with, and what was pruned for it; the recipe only aligns then, outputs or prompts. Stays the caller's. */
  readonly start?: Pick<StepResult, 'weights' | 'plan'>;
  /** Pixels of the square that a plain ViT reads; its config's unless given. */
  readonly size?: number;
  /** Photographs that are held back for validation; an eighth, 64 at most, unless given. With 0 those that train validate. */
  readonly held?: number;
  /** Measured after each epoch, such as mIoU on labelled photographs; it then chooses weights and learning rate, not the features' error. */
  readonly measure?: (model: M) => Promise<number>;
  /** Where the run is kept; without it a run that is broken off is lost. */
  readonly run?: RunStore;
  /** Minutes between two checkpoints, besides those after each epoch; 10 unless given. A function is asked after each step: 0 saves now. */
  readonly saveMinutes?: number | (() => number);
  /** What else the run depends on, such as the adapter: a run of other facts does not go on. Plain JSON. */
  readonly facts?: Readonly<Record<string, unknown>>;
  /** Scores parts of the photographs in place of this process: the same scores, from other machines. */
  readonly score?: PartScorer;
  readonly signal?: AbortSignal;
}

/**
 * Compresses a SAM, or a plain ViT, by a recipe. What it does it tells by events; the last one, `done`, and the generator's own result
 * have the slim model, which is the caller's to dispose. The given model stays as it is.
 *
 * A plain ViT's features keep their width: where its stream is pruned, a `projection.weight` follows the last layer norm.
 *
 * @throws when the model is neither, the recipe or an option is wrong, no photograph can be read, the run is another one's, a loss is not
 *   a number, or the signal's reason when it is aborted. Everything is disposed by then.
 */
export async function* compress<M extends Model>(
  model: M,
  options: CompressOptions<M>,
): AsyncGenerator<CompressEvent<M>, Compressed<M>, undefined> {
  checkFields('compress', model, { weights: 'object', config: 'object' });
  checkFields('compress', options, { photographs: 'object', recipe: 'object' });
  const { recipe, run, signal, photographs } = options;
  checkRecipe(recipe);
  const context = contextOf(model, options);
  const { network } = context;
  const facts = await factsOf(model, context, options);
  const finished = (await run?.begin(facts)) ?? 0;

  const modelOf = (weights: Weights): M => ({ ...model, weights });
  const original = model.weights;
  const narrows = recipe.steps.some((step) => step.kind === 'prune' && step.structure !== 'bottleneck');
  const whole = options.start ? startOf(context, original, options.start) : network.prepare(original, { narrows });
  let current: StepResult = { weights: whole, plan: options.start?.plan ?? (await wholePlan(network, whole)) };
  let previous: StepResult | undefined;
  let told = 0;
  const skips = function* (): Generator<CompressEvent<M>> {
    for (; told < photographs.skipped.length; told++) yield { type: 'skipped', ...photographs.skipped[told]! };
  };
  try {
    if (finished > 0) {
      disposeWeights(whole);
      current = await run!.loadStep(finished - 1);
      const before = beforePruning(recipe, finished - 1);
      if (before !== undefined) previous = await run!.loadStep(before);
    }
    for (const [index, step] of recipe.steps.entries()) {
      if (index < finished) continue;
      signal?.throwIfAborted();
      const stage = runStep(atSizeOf(step, { context, model }), {
        step,
        index,
        current,
        previous,
        original,
        options,
        modelOf,
      });
      let next = await stage.next();
      while (!next.done) {
        await run?.note(next.value);
        yield next.value;
        yield* skips();
        next = await stage.next();
      }
      const before = current;
      current = { ...next.value, validation: next.value.validation ?? before.validation };
      const needed = beforePruning(recipe, index);
      if (step.kind === 'prune') {
        if (previous) disposeWeights(previous.weights);
        previous = needed === undefined ? undefined : before;
      }
      if (previous !== before) disposeWeights(before.weights);
      await run?.saveStep(index, current, needed === undefined ? [index] : [index, needed]);
    }
    yield* skips();
    const { plan, validation } = current;
    const weights = Object.fromEntries(
      Object.entries(current.weights).map(([name, weight]) => [name, tf.clone(weight)]),
    );
    const result: Compressed<M> = { model: modelOf(weights), plan, validation, skipped: [...photographs.skipped] };
    yield { type: 'done', result };
    return result;
  } finally {
    disposeWeights(current.weights);
    if (previous) disposeWeights(previous.weights);
  }
}

/** A slim model's encoder with all else of the original: new tensors. @throws when it was not made of the original */
function startOf(
  { network }: Context,
  original: Weights,
  { weights, plan }: Pick<StepResult, 'weights' | 'plan'>,
): Weights {
  for (const [name, shape] of Object.entries(plan.shapes)) {
    const own = original[name]?.shape;
    if (`${own}` !== `${shape}`)
      throw new Error(
        `compress: expected a start that was made of this model, with '${name}' [${own ?? 'none'}], got one of a model with [${shape}]`,
      );
  }
  const kept = Object.entries(weights).map(([name, weight]) => [
    name,
    tf.clone(network.isEncoder(name) ? weight : (original[name] ?? weight)),
  ]);
  return Object.fromEntries(kept);
}

/** The step that gave the model before the last pruning, which a later step aligns with; undefined where that is the original. */
function beforePruning({ steps }: Recipe, index: number): number | undefined {
  const pruning = steps.slice(0, index + 1).findLastIndex(({ kind }) => kind === 'prune');
  return pruning > 0 ? pruning - 1 : undefined;
}

/** The context of a step that reads smaller photographs than the SAM's own: scored here, its embeddings with a place of their own in the cache. */
function atSizeOf(step: RecipeStep, { context, model }: { context: Context; model: Model }): Context {
  const small = 'small' in step ? step.small : undefined;
  if (small === undefined) return context;
  const { teacherCache: cache } = context;
  const placeOf = (name: string) => `${name} at ${small}`;
  return {
    ...context,
    network: networkOf(model, { small }),
    scorer: undefined,
    teacherCache: cache && {
      get: (name) => cache.get(placeOf(name)),
      put: (name, bytes) => cache.put(placeOf(name), bytes),
    },
  };
}

/** Whether a SAM's attention is that of a plain ViT. */
function isGlobal({ sam, taps }: Network, { weights }: Model): boolean {
  const depth = taps(weights).bottleneck.mlpHidden.length;
  return sam!.globalBlocks.length === depth && !Object.keys(weights).some((name) => name.includes('.attn.rel_pos_'));
}

interface StepInputs<M extends Model> {
  readonly step: RecipeStep;
  readonly index: number;
  readonly current: StepResult;
  readonly previous: StepResult | undefined;
  readonly original: Weights;
  readonly options: CompressOptions<M>;
  readonly modelOf: (weights: Weights) => M;
}

async function* runStep<M extends Model>(
  context: Context,
  { step, index, current, previous, original, options, modelOf }: StepInputs<M>,
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { weights, plan } = current;
  if (step.kind === 'prune') return yield* pruneStep(context, { step, index, weights, plan });
  if (step.kind === 'rotate') {
    const { rotateStep } = await import('./rotate-step.ts'); // with its matrix library 17 kB gzip, which most pages never need
    return yield* rotateStep(context, { step, index, weights, plan });
  }
  if (step.kind === 'reconstruct') {
    const before = { weights: previous?.weights ?? original, plan: previous?.plan };
    return yield* reconstructStep(context, { step, index, weights, plan, previous: before });
  }
  if (step.kind === 'align') {
    const { run, saveMinutes = 10, measure } = options;
    return yield* alignStep(context, {
      ...{ step, index, weights, plan, original, run },
      saveMinutes: typeof saveMinutes === 'function' ? saveMinutes : () => saveMinutes,
      previous: previous?.weights ?? original,
      saveBest: async (best) => run?.saveBest(modelOf(best), plan),
      measure: measure && ((student) => measure(modelOf(student))),
    });
  }
  const { network, seed, signal } = context;
  yield { type: 'phase', kind: step.kind, index, name: step.name, done: 0, total: 0 };
  if (step.kind === 'initialise') return { weights: initialise(network, weights, seed), plan };
  return { weights: yield* step.run({ network, weights, original, seed, signal }), plan };
}

/** @throws when an option is wrong */
function contextOf<M extends Model>(model: M, options: CompressOptions<M>): Context {
  const { photographs, recipe, seed = 1, batch = 4, accumulate = 1, recompute = false } = options;
  for (const [name, value] of Object.entries({ batch, accumulate })) {
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`compress: expected ${name} to be 1, 2, …, got ${value}`);
  }
  if (!Number.isSafeInteger(seed)) throw new Error(`compress: expected a whole number as seed, got ${seed}`);
  const count = photographs.names.length;
  if (count === 0) throw new Error('compress: expected photographs, got none');
  const held = options.held ?? Math.min(64, Math.floor(count / 8));
  const network = networkOf(model, { size: options.size });
  const asking = recipe.steps.find((step) => step.kind === 'align' && step.loss === 'prompts');
  if (asking && !network.sam)
    throw new Error(`compress: expected a SAM for '${asking.name}', got a plain ViT, which has no masks`);
  const fitting = recipe.steps.find(({ kind }) => kind === 'reconstruct' || kind === 'rotate');
  if (fitting && !network.sam)
    throw new Error(`compress: expected a SAM for '${fitting.name}', got a plain ViT; leave the step out`);
  const rotating = recipe.steps.find(({ kind }) => kind === 'rotate');
  if (rotating && !isGlobal(network, model))
    throw new Error(
      `compress: expected a SAM on a plain ViT for '${rotating.name}', with global attention and no relative positions, got others; take the recipe 'slimsam'`,
    );
  const unfit = recipe.steps.find(
    (step) => options.start && (step.kind !== 'align' || !['output', 'prompts'].includes(`${step.loss}`)),
  );
  if (unfit)
    throw new Error(
      `compress: expected steps that align outputs or prompts after a start, got '${unfit.name}'; leave the start out`,
    );
  for (const step of recipe.steps) if ('small' in step) networkOf(model, { small: step.small });
  const varying = recipe.steps.find((step) => step.kind === 'align' && step.augment && !step.augment.views);
  if (varying && options.teacherCache)
    throw new Error(
      `compress: expected no teacherCache where '${varying.name}' augments its photographs, got one; they are others each time: give them 'views', after which they begin anew`,
    );
  return {
    ...{ network, photographs, seed, batch, accumulate, recompute },
    ...holdBack(count, { seed, held }),
    ...{ teacherCache: options.teacherCache, halfTeacher: options.halfTeacher },
    ...(options.score && { scorer: { score: options.score, model } }),
    signal: options.signal,
  };
}
