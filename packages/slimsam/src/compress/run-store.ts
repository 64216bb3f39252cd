import type { TrainingExtras, TrainingState } from '@slimsam/distill';
import type { Plan } from '@slimsam/prune';
import type { Weights } from '@slimsam/weights';
import type { Model } from '../models/network.ts';
import type { CompressEvent, ValidationResult } from './events.ts';

/** All that a run's weights depend on: plain JSON. */
export type RunFacts = Readonly<Record<string, unknown>>;

/** A model between two steps of a recipe. */
export interface StepResult {
  readonly weights: Weights;
  /** What was pruned of the original so far. */
  readonly plan: Plan;
  readonly validation?: ValidationResult | undefined;
}

/** Where a run is kept, so that it can go on. `openRun` of slimsam/node makes one of a folder. */
export interface RunStore {
  /**
   * Begins, or goes on.
   * @returns how many steps of the recipe are done
   * @throws when it holds a run of other facts, saying which differ
   */
  begin(facts: RunFacts): Promise<number>;
  /** The model after a step that is done. The caller owns the tensors. */
  loadStep(index: number): Promise<StepResult>;
  /**
   * Keeps the model after a step; training states of it are of no use from then on.
   * @param needed the steps whose models a run that goes on will load; others may go
   */
  saveStep(index: number, result: StepResult, needed: readonly number[]): Promise<void>;
  /** The training state of a step that was broken off. The caller owns the tensors. */
  loadTraining(index: number): Promise<({ readonly state: TrainingState } & TrainingExtras) | undefined>;
  saveTraining(index: number, state: TrainingState, extras: TrainingExtras): Promise<void>;
  /** The best model so far, as one that can be loaded, and what was pruned of the original. */
  saveBest(model: Model, plan: Plan): Promise<void>;
  /** Notes an event; on going on, those after the last checkpoint are taken back. */
  note(event: CompressEvent): Promise<void>;
}
