export { countMacs, countParameters } from './count.ts';
export { type Criterion, criteria, type ScoredMember } from './criteria.ts';
export { type Accumulated, type AccumulateOptions, accumulateGradients } from './gradients.ts';
export { type ImportanceOptions, importance } from './importance.ts';
export { type Distribution, disturbedLoss, type NoiseOptions, noise } from './noise.ts';
export { type Normalise, type Reference, type SelectOptions, select } from './select.ts';
export { prune } from './surgery.ts';
