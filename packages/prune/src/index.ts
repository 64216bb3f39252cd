export {
  type ActivationImportanceOptions,
  type ActivationOptions,
  type Activations,
  accumulateActivations,
  activationImportance,
} from './activations.ts';
export { classOf, type PerDimension } from './axis.ts';
export { blockImportance } from './block-importance.ts';
export { countMacs, countParameters } from './count.ts';
export {
  type ChannelCriterion,
  type Criterion,
  type CriterionName,
  criteria,
  type ElementCriterion,
  type ScoredWeight,
} from './criteria.ts';
export { type AccumulateOptions, type AccumulationMode, accumulateGradients, type Gradients } from './gradients.ts';
export { type ImportanceOptions, importance, type Scores } from './importance.ts';
export { type Distribution, disturbedLoss, type NoiseOptions, noise } from './noise.ts';
export type { Normalise } from './normalise.ts';
export {
  applyPlan,
  type ChannelOrigin,
  channelOrigins,
  composePlans,
  plannedShapes,
} from './plan/apply-plan.ts';
export type { Blocks } from './plan/blocks.ts';
export { type Counts, type Plan, type PlanOptions, plan, type ScoreSummary } from './plan/plan.ts';
export { formatPlan, loadPlan, parsePlan, planPathOf, savePlan } from './plan/plan-file.ts';
export { planTable } from './plan/plan-table.ts';
export { bytesTarget, latencyTarget, macsTarget, parametersTarget, type Target } from './plan/targets.ts';
export type { Reduction } from './reduction.ts';
export { type RankingOptions, type Selection, type SelectOptions, select } from './select.ts';
export type { Reference } from './select-reference.ts';
export { ratiosBySensitivity, type SensitivityOptions, type SensitivityPoint, sensitivity } from './sensitivity.ts';
export {
  type Agreement,
  agreement,
  keptOverlap,
  rankStability,
  type ScoresAt,
  type StabilityPoint,
  spearman,
} from './stability.ts';
export { prune, prunedShapes, zeroChannels } from './surgery.ts';
