import type { Features, LossParts } from '@slimsam/distill';
import type { Weights } from '@slimsam/weights';
import type { StageEvent } from '../compress/events.ts';
import type { Network, NetworkTaps } from '../models/network.ts';
import type { Target } from '../models/ratio-for.ts';
import type { Multiples } from '../models/rounding.ts';
import { type Augment, checkAugment } from '../photographs/augment.ts';
import type { Alpha } from './alpha.ts';
import type { Scoring } from './scoring.ts';

/** The two halves of a ViT that SlimSAM takes apart: the width of the residual stream, and the widths of heads and MLPs. */
export type Structure = 'embedding' | 'bottleneck';

/** A step that removes channels. */
export interface PruneStep extends Scoring {
  readonly kind: 'prune';
  /** Names the step in events and files; unique in its recipe. */
  readonly name: string;
  readonly structure: Structure | 'both';
  /** The share of the *original* model's channels that are gone after this step, in [0, 1). */
  readonly ratio: number;
  /** What the pruned model is to cost: as much stays as it leaves, whatever the ratio says. */
  readonly target?: Target;
  /** Pixels of the square that a SAM reads in this step, fewer than its own; its own unless given. */
  readonly small?: number;
}

/** A step that distils. The image embedding is aligned with the original's, intermediates with those of the model before the last pruning. */
export interface AlignStep {
  readonly kind: 'align';
  readonly name: string;
  /**
   * 'bottleneck': q, k, v and hidden layers (stage 1). 'embedding': the residual stream (stage 2). 'output': the image embedding alone.
   * 'prompts': a SAM's answers to prompts, through its frozen decoder, against the original's own masks; not part of SlimSAM.
   */
  readonly loss: 'bottleneck' | 'embedding' | 'output' | 'prompts' | AligningLoss;
  /** The weight of the intermediates by epoch; of no meaning for 'output'. */
  readonly alpha?: Alpha;
  readonly epochs: number;
  /** Optimizer steps of an epoch, on a part of the photographs then; all of them unless given. */
  readonly stepsPerEpoch?: number;
  readonly learningRate: number;
  /** The learning rate is a share of each weight's size when the step begins: for layers of very different sizes. Not so unless given. */
  readonly relative?: boolean;
  /** Steps in which the learning rate rises from 0; 0 unless given. */
  readonly warmup?: number;
  /** 'cosine': the learning rate falls to 0 along a cosine over the whole step, which serves few epochs; `patience` is of no meaning then. */
  readonly decay?: 'cosine';
  /** The learning rate halves when this many epochs in a row, and one more, were not better; never unless given. */
  readonly patience?: number;
  /** How photographs vary from epoch to epoch; not at all unless given. */
  readonly augment?: Pick<Augment, 'flip' | 'scale' | 'views'>;
  /** Pixels of the square that a SAM reads in this step, fewer than its own; its own unless given. */
  readonly small?: number;
}

/**
 * Gives the image encoder of a SAM on a plain ViT other channels, of which the first tell the most; the function stays the same. For a
 * pruning with the criterion 'leading', which keeps those. Not part of SlimSAM.
 */
export interface RotateStep {
  readonly kind: 'rotate';
  readonly name: string;
  /** The share of the stream's channels that the pruning after it removes, in [0, 1). */
  readonly ratio: number;
  readonly multiples?: Multiples;
  /** Photographs that it looks at, a seeded sample of those that train; 32 unless given. */
  readonly sample?: number;
  /** Pixels of the square that a SAM reads in this step, fewer than its own; its own unless given. */
  readonly small?: number;
}

/**
 * Fits the linear layers of a SAM's pruned encoder anew by least squares, layer by layer, to the features of the model before the last
 * pruning: photographs and no gradients. Not part of SlimSAM.
 */
export interface ReconstructStep {
  readonly kind: 'reconstruct';
  readonly name: string;
  /** 'outputs' leaves q, k, v and the hidden layers as they are, and fits only what adds to the stream, and the neck; 'all' unless given. */
  readonly layers?: 'all' | 'outputs';
  /** Photographs that it looks at, a seeded sample of those that train; 48 unless given. Their streams are kept on the device. */
  readonly sample?: number;
  /** Pixels of the square that a SAM reads in this step, fewer than its own; its own unless given. */
  readonly small?: number;
}

/** Starts again from random weights in the pruned shapes: the baseline 'scratch'. */
export interface InitialiseStep {
  readonly kind: 'initialise';
  readonly name: string;
}

/** A step of the user's own. */
export interface CustomStep {
  readonly kind: 'custom';
  readonly name: string;
  /** Gives the new weights, which are the caller's to dispose; the given ones stay as they are. Runs again when a run was killed within it. */
  readonly run: (state: {
    readonly network: Network;
    readonly weights: Weights;
    readonly original: Weights;
    readonly seed: number;
    readonly signal: AbortSignal | undefined;
  }) => AsyncGenerator<StageEvent, Weights, undefined>;
}

export type RecipeStep = PruneStep | RotateStep | ReconstructStep | AlignStep | InitialiseStep | CustomStep;

/** A loss of the user's own for an aligning step. */
export interface AligningLoss {
  /** Part of the run's identity. */
  readonly name: string;
  /** The intermediates that the loss looks at in this epoch; none unless given. */
  readonly taps?: (taps: NetworkTaps, a: number) => readonly string[];
  /** A pure function of features; `previous` is the model before the last pruning. */
  readonly loss: (inputs: {
    readonly student: Features;
    readonly original: Features;
    readonly previous: Features;
    readonly taps: NetworkTaps;
    readonly a: number;
  }) => LossParts;
}

/** What compresses a model: data, in the order in which it is done. */
export interface Recipe {
  readonly name: string;
  readonly steps: readonly RecipeStep[];
}

/** The share of channels to remove. @throws when it is not in [0, 1) */
export function checkRatio(ratio: number, caller: string): number {
  if (ratio >= 0 && ratio < 1) return ratio;
  throw new Error(`${caller}: expected a ratio in [0, 1), got ${ratio}; 0.5 removes half of the channels`);
}

/** @throws when a recipe has no steps, names twice, 'leading' channels of no rotation, ratios outside of [0, 1) or epochs that are not 1, 2, … */
export function checkRecipe({ name, steps }: Recipe): void {
  const caller = `recipe '${name}'`;
  if (steps.length === 0) throw new Error(`${caller}: expected steps, got none`);
  const names = new Set<string>();
  let turned = false;
  for (const step of steps) {
    if (names.has(step.name)) throw new Error(`${caller}: expected a name for each step, got '${step.name}' twice`);
    names.add(step.name);
    if (step.kind === 'rotate' || step.kind === 'custom') turned = true;
    if (step.kind === 'prune' && step.criterion === 'leading' && !turned)
      throw new Error(
        `${caller}, '${step.name}': expected a step 'rotate' before the criterion 'leading', got none; without it the first channels are any`,
      );
    if (step.kind === 'prune' || step.kind === 'rotate') checkRatio(step.ratio, `${caller}, '${step.name}'`);
    if (step.kind !== 'align') continue;
    if (!Number.isInteger(step.epochs) || step.epochs < 1)
      throw new Error(`${caller}, '${step.name}': expected epochs to be 1, 2, …, got ${step.epochs}`);
    if (step.stepsPerEpoch !== undefined && !(Number.isInteger(step.stepsPerEpoch) && step.stepsPerEpoch >= 1))
      throw new Error(`${caller}, '${step.name}': expected stepsPerEpoch to be 1, 2, …, got ${step.stepsPerEpoch}`);
    if (!(step.learningRate > 0))
      throw new Error(`${caller}, '${step.name}': expected a learning rate above 0, got ${step.learningRate}`);
    if (step.augment) checkAugment({ ...step.augment, seed: 0, epoch: 0 });
  }
}
