import type { Plan } from '@slimsam/prune';
import type { Model } from '../models/network.ts';

/** How far a student's features are from the original's on photographs that are not trained on. */
export interface ValidationResult {
  /** Mean squared error of the features. */
  readonly error: number;
  /** sqrt(sum (x - y)² / sum y²), y the original's. */
  readonly relative: number;
  /** Mean cosine of the features at a place and the original's. */
  readonly cosine: number;
  /** In a step with the loss 'prompts': mean IoU of its masks with the original's, one point each. */
  readonly agreement?: number;
  /** What the caller measures, such as mIoU on labelled photographs; higher is better. */
  readonly measure?: number;
}

interface OfStep {
  /** Index of the recipe's step. */
  readonly index: number;
  readonly name: string;
}

/** A step of the recipe begins; `done` of `total` photographs or optimizer steps were done before. */
export interface PhaseEvent extends OfStep {
  readonly type: 'phase';
  readonly kind: 'prune' | 'rotate' | 'reconstruct' | 'align' | 'initialise' | 'custom';
  readonly done: number;
  readonly total: number;
}

/** One more photograph is scored or looked at, or one more block reconstructed. */
export interface ScoredEvent extends OfStep {
  readonly type: 'scored';
  readonly done: number;
  readonly total: number;
}

/** Channels were removed. */
export interface PrunedEvent extends OfStep {
  readonly type: 'pruned';
  /** Kept widths by dimension. */
  readonly widths: Readonly<Record<string, number>>;
  /** Of the image encoder. */
  readonly parameters: number;
  readonly macs: number;
  /** The share of channels that is gone, after rounding; of the original. */
  readonly ratio: number;
  /** Where the step has a target: what came of it. */
  readonly target?: Plan['target'];
}

/** One optimizer step. */
export interface StepEvent extends OfStep {
  readonly type: 'step';
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  readonly loss: number;
  /** The terms of the loss before weighting. */
  readonly parts: Readonly<Record<string, number>>;
  readonly learningRate: number;
  readonly seconds: number;
}

/** The held-back photographs were tried; epoch 0 is before training. */
export interface ValidationEvent extends OfStep, ValidationResult {
  readonly type: 'validation';
  readonly epoch: number;
  readonly step: number;
  /** Whether it is the best so far. */
  readonly best: boolean;
}

/** All that is needed to go on was written. */
export interface CheckpointEvent extends OfStep {
  readonly type: 'checkpoint';
  readonly step: number;
}

/** A photograph could not be read. */
export interface SkippedEvent {
  readonly type: 'skipped';
  readonly name: string;
  readonly reason: string;
}

/** The end. */
export interface DoneEvent<M extends Model = Model> {
  readonly type: 'done';
  readonly result: Compressed<M>;
}

/** What a step tells. */
export type StageEvent =
  | PhaseEvent
  | ScoredEvent
  | PrunedEvent
  | StepEvent
  | ValidationEvent
  | CheckpointEvent
  | SkippedEvent;

export type CompressEvent<M extends Model = Model> = StageEvent | DoneEvent<M>;

/** A slim model, the caller's to dispose, and where it comes from. */
export interface Compressed<M extends Model = Model> {
  readonly model: M;
  /**
   * What was pruned of the original; of a plain ViT whose stream is pruned, of the same with a `projection.weight`. `plan.keep` has the
   * original's channels that were kept, by dimension; what is not in it is whole. After a rotation they are those of the rotated original.
   */
  readonly plan: Plan;
  /** The last validation of the weights that were kept; undefined where nothing was aligned. */
  readonly validation: ValidationResult | undefined;
  /** Photographs that could not be read, and why. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}
