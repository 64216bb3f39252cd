export { type AdamOptions, adam, type Optimizer, type OptimizerState, relativeRates } from './adam.ts';
export { averageWeights } from './average-weights.ts';
export { type Best, type BestKeeper, keepBest } from './best.ts';
export { clipped } from './clip.ts';
export {
  type DistillOptions,
  distill,
  type FeatureSource,
  type Forward,
  type Images,
  type Model,
  type UsedFeatures,
} from './distill.ts';
export { type Plateau, type PlateauState, plateau, warmupCosine } from './learning-rate.ts';
export type { LossParts, Position } from './loss.ts';
export { type FocalOptions, type MaskPrediction, maskLoss } from './mask-loss.ts';
export { meanWeights } from './mean-weights.ts';
export { shuffledBatches } from './shuffled-batches.ts';
export {
  type BottleneckTaps,
  bottleneckAligning,
  bottleneckAlpha,
  embeddingAligning,
  embeddingAlpha,
  type Features,
} from './slimming-losses.ts';
export { type LearningRate, type TrainingState, type TrainingStep, type TrainOptions, train } from './train.ts';
export { loadTraining, saveTraining, type TrainingExtras } from './training-state.ts';
