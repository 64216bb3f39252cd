export { type Axes, type Axis, type Dimension, dims, linear, type Member } from './axes.ts';
export type { Attention, Costs } from './costs.ts';
export { disposeWeights, type Scope, scope, type Weights } from './weights.ts';
