export { type CompressOptions, compress } from './compress/compress.ts';
export type {
  CheckpointEvent,
  CompressEvent,
  Compressed,
  DoneEvent,
  PhaseEvent,
  PrunedEvent,
  ScoredEvent,
  SkippedEvent,
  StageEvent,
  StepEvent,
  ValidationEvent,
  ValidationResult,
} from './compress/events.ts';
export { hashWeights } from './compress/facts.ts';
export type { RunFacts, RunStore, StepResult } from './compress/run-store.ts';
export { compareFeatures } from './evaluate/compare-features.ts';
export { type EvaluateOptions, type Evaluation, evaluateSam } from './evaluate/evaluate-sam.ts';
export { type SamSegmenter, segmentWithSam } from './evaluate/segment-with-sam.ts';
export { type EstimateOptions, estimateMemory, type MemoryEstimate } from './memory/estimate.ts';
export type { GpuLooks } from './memory/null-gpu.ts';
export { type MemoryPlan, planMemory } from './memory/plan-memory.ts';
export { isSam, type Model, type Network, type NetworkTaps, networkOf } from './models/network.ts';
export { ratioFor, type Solved, type Target } from './models/ratio-for.ts';
export type { Augment } from './photographs/augment.ts';
export { photographsInMemory } from './photographs/in-memory.ts';
export type {
  Photograph,
  Photographs,
  ReadPhotographs,
  SkippedPhotograph,
} from './photographs/photographs.ts';
export { type KMeansSubset, kMeansSubset, subsetOf } from './photographs/subset.ts';
export type { Alpha } from './recipe/alpha.ts';
export {
  aligning,
  iterative,
  oneShot,
  paperRounding,
  type RecipeOptions,
  type RotatedOptions,
  rotated,
  type SlimSamOptions,
  scratch,
  slimSam,
} from './recipe/makers.ts';
export type {
  AligningLoss,
  AlignStep,
  CustomStep,
  InitialiseStep,
  PruneStep,
  Recipe,
  RecipeStep,
  RotateStep,
  Structure,
} from './recipe/recipe.ts';
export type { Scoring, ScoringLoss } from './recipe/scoring.ts';
export type { TeacherCache } from './teacher-cache/teacher-cache.ts';
