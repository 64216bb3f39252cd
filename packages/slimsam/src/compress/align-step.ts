import {
  adam,
  bottleneckAligning,
  distill,
  embeddingAligning,
  type Features,
  type Forward,
  keepBest,
  type LossParts,
  type Position,
  plateau,
  relativeRates,
  warmupCosine,
} from '@slimsam/distill';
import type { Plan } from '@slimsam/prune';
import { halfPrecision } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { NetworkTaps } from '../models/network.ts';
import { shuffled } from '../photographs/order.ts';
import { alphaAt } from '../recipe/alpha.ts';
import type { AlignStep } from '../recipe/recipe.ts';
import type { NamedImages } from '../teacher-cache/teacher-cache.ts';
import { batchesOf, type Context, type Epoch } from './context.ts';
import type { StageEvent, ValidationResult } from './events.ts';
import { agreementWith, trainByPrompts } from './prompt-loop.ts';
import type { RunStore, StepResult } from './run-store.ts';
import { type TeacherFeatures, teachersOf } from './teachers.ts';
import { validate } from './validate.ts';

/** What an aligning step needs besides the context. */
export interface AlignInputs {
  readonly step: AlignStep;
  readonly index: number;
  readonly weights: Weights;
  readonly plan: Plan;
  readonly original: Weights;
  /** The model before the last pruning. */
  readonly previous: Weights;
  readonly run: RunStore | undefined;
  /** Minutes between two checkpoints, besides those after each epoch; asked after each step. */
  readonly saveMinutes: () => number;
  /** Called with the best weights so far. */
  readonly saveBest: (weights: Weights) => Promise<void>;
  /** What is measured besides the features' error; higher is better. */
  readonly measure: ((weights: Weights) => Promise<number>) | undefined;
}

/** Notes of a checkpoint. */
interface Notes {
  readonly validation: ValidationResult;
}

/**
 * Distils; its result is the weights of the best validation, those it began with among them. The tensors are new. Aborted in a run, it ends
 * the optimizer step it is in, and writes the state, before it throws.
 */
export async function* alignStep(
  given: Context,
  inputs: AlignInputs,
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { step, index, weights, original, previous, run, measure } = inputs;
  const { signal } = given;
  signal?.throwIfAborted();
  const context: Context = run ? { ...given, signal: undefined } : given; // reading must not fail before the state is written
  const { network, seen, seed, batch, accumulate, recompute } = context;
  const { name, epochs } = step;
  const used = Math.min(seen.length, (step.stepsPerEpoch ?? Number.POSITIVE_INFINITY) * batch * accumulate);
  const perEpoch = Math.ceil(Math.ceil(used / batch) / accumulate);
  const steps = perEpoch * epochs;
  const saved = await run?.loadTraining(index);
  yield { type: 'phase', kind: 'align', index, name, done: saved?.state.position.step ?? 0, total: steps };

  const agreement = step.loss === 'prompts' ? agreementWith(context, original) : undefined;
  const check = async (student: Weights): Promise<ValidationResult> => {
    const found = await validate(context, student, original);
    return {
      ...found,
      ...(agreement && { agreement: await agreement.of(student) }),
      ...(measure && { measure: await measure(student) }),
    };
  };
  const metricOf = ({ error, agreement, measure }: ValidationResult) => measure ?? agreement ?? -error;
  const keeper = keepBest(saved?.best);
  const rate = plateau({
    learningRate: step.learningRate,
    patience: step.patience ?? Number.MAX_SAFE_INTEGER,
    from: saved?.plateau,
  });
  const { warmup = 0 } = step;
  const cosine = step.decay === 'cosine' && warmupCosine({ peak: step.learningRate, warmup, steps });
  const rateAt = (done: number) =>
    cosine ? cosine({ step: done }) : rate.learningRate * Math.min(1, (done + 1) / Math.max(1, warmup));
  const rates = step.relative && (await relativeRates(weights));
  const loss = lossOf(step, network.taps(weights));
  const forward: Forward = (weights, images, taps, keep) => network.forward(weights, images, { taps, keep, recompute });
  const models = { original: { forward, weights: original }, previous: { forward, weights: previous } };
  const half = context.halfTeacher ? halfPrecision(original) : undefined;
  const { both, ...teachers } = teachersOf(models, {
    tapsAt: ({ epoch }) => loss.taps(alphaAt(step.alpha, epoch, epochs)),
    always: typeof step.loss === 'object',
    cache: context.teacherCache,
    half,
  });
  let last: Weights = {};
  let current = saved?.state.weights ?? weights;
  let best = (saved?.notes as Notes | undefined)?.validation;
  try {
    if (!best) {
      best = await check(weights);
      keeper.offer(metricOf(best), weights);
      yield { type: 'validation', index, name, epoch: 0, step: 0, best: true, ...best };
    }
    let since = performance.now();
    let lastSave = performance.now();
    const common = {
      ...{
        trainable: network.isEncoder,
        optimizer: adam(rates ? { rates } : {}),
        epochs,
        accumulate,
        resume: saved?.state,
        signal: context.signal,
      },
      learningRate: ({ step: done }: Position) => rateAt(done),
    };
    const epochOf = (epoch: number, startBatch: number): Epoch => {
      const own = { seed: seed * 31 + index, epoch };
      const order = shuffled(seen.length, own).slice(0, used);
      const augment = step.augment && { ...step.augment, ...own };
      return { order: order.map((i) => seen[i]!), startBatch, augment };
    };
    const training =
      step.loss === 'prompts'
        ? trainByPrompts(context, {
            ...{ ...common, weights, original, epochOf, perEpoch: Math.ceil(used / batch), seed: seed * 31 + index },
            latest: () => current,
          })
        : distill<'original' | 'previous', NamedImages>({
            ...common,
            student: { forward, weights },
            ...teachers,
            loss: (student, teachers, { epoch }) =>
              loss.of(student, both(teachers), alphaAt(step.alpha, epoch, epochs)),
            batches: (epoch, startBatch) => batchesOf(context, epochOf(epoch, startBatch)),
          });
    for await (const { position, epochDone, loss: value, parts, weights: now, state } of training) {
      current = now;
      last = now;
      const learningRate = rateAt(position.step - 1);
      const seconds = (performance.now() - since) / 1000;
      const epoch = position.epoch + (epochDone ? 0 : 1);
      yield {
        ...{ type: 'step', index, name, step: position.step, steps, epoch },
        ...{ loss: value, parts, learningRate, seconds },
      };
      if (epochDone) {
        const found = await check(now);
        const isBest = keeper.offer(metricOf(found), now);
        if (isBest) best = found;
        rate.feed(metricOf(found));
        yield { type: 'validation', index, name, epoch: position.epoch, step: position.step, best: isBest, ...found };
        if (isBest) await inputs.saveBest(now);
      }
      const due = epochDone || signal?.aborted || performance.now() - lastSave > inputs.saveMinutes() * 60_000;
      if (run && due) {
        const notes: Notes = { validation: best };
        await run.saveTraining(index, state, { best: keeper.best, plateau: rate.state(), notes });
        lastSave = performance.now();
        yield { type: 'checkpoint', index, name, step: position.step };
        signal?.throwIfAborted();
      }
      since = performance.now();
    }
    const copies = Object.entries(keeper.best!.weights).map(([name, weight]) => [name, tf.clone(weight)] as const);
    return { weights: Object.fromEntries(copies), plan: inputs.plan, validation: best };
  } finally {
    keeper.dispose();
    disposeWeights(last);
    if (half) disposeWeights(half);
    if (saved) {
      for (const table of [saved.state.weights, saved.state.optimizer.m, saved.state.optimizer.v])
        disposeWeights(table);
      if (saved.best) disposeWeights(saved.best.weights);
    }
  }
}

/** The intermediates and the loss of a step, as functions of a. */
interface Loss {
  readonly taps: (a: number) => readonly string[];
  readonly of: (student: Features, teachers: TeacherFeatures, a: number) => LossParts;
}

function lossOf({ loss }: AlignStep, taps: NetworkTaps): Loss {
  if (typeof loss === 'object') {
    return {
      taps: (a) => loss.taps?.(taps, a) ?? [],
      of: (student, teachers, a) => loss.loss({ student, ...teachers, taps, a }),
    };
  }
  if (loss === 'bottleneck') {
    const names = Object.values(taps.bottleneck).flat();
    return {
      taps: (a) => (a > 0 ? names : []),
      of: (student, { original, previous }, a) => {
        const teacher = { embedding: original.embedding, taps: a > 0 ? previous.taps : {} }; // left out where they count for nothing
        return bottleneckAligning({ student, teacher, taps: taps.bottleneck, a });
      },
    };
  }
  if (loss === 'embedding') {
    return {
      taps: (a) => (a > 0 ? taps.embedding : []),
      of: (student, { original, previous }, a) =>
        embeddingAligning({ student, teacher: original, previous, taps: taps.embedding, a }),
    };
  }
  return {
    taps: () => [],
    of: (student, { original }) => bottleneckAligning({ student, teacher: original, taps: taps.bottleneck, a: 0 }),
  };
}
