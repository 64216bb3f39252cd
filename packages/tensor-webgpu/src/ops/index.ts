import '../gradients.ts';

export { type AdamOptions, type AdamResult, type AdamTensors, adamStep, adamStepReference } from './adam-step.ts';
export { type AttentionInputs, attention, attentionReference } from './attention.ts';
export { gelu, geluReference } from './gelu.ts';
export { half } from './half.ts';
export { type LayerNormOptions, layerNorm, layerNormReference } from './layer-norm.ts';
export { type LinearActivation, type LinearOptions, linear, linearReference } from './linear.ts';
