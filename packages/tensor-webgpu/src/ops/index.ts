import './gradients.ts';

export {
  type AdamOptions,
  type AdamResult,
  type AdamTensors,
  adamStep,
  adamStepReference,
} from './adam-step/adam-step.ts';
export { type AttentionInputs, attention, attentionReference } from './attention/attention.ts';
export { splitHeads, splitHeadsReference } from './attention/heads.ts';
export { type RelativeAxis, relativePositions, relativePositionsReference } from './attention/relative-positions.ts';
export { gelu, geluReference } from './gelu/gelu.ts';
export { half } from './half/half.ts';
export { type LayerNormOptions, layerNorm, layerNormReference } from './layer-norm/layer-norm.ts';
export { type LinearActivation, type LinearOptions, linear, linearReference } from './linear/linear.ts';
export { mergeWindows, mergeWindowsReference, partitionWindows, partitionWindowsReference } from './windows/windows.ts';
