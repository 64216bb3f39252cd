import { tiny } from './plain-checkpoints.ts';
import type { Family, Names } from './plain-reference.ts';

const vision = (i: number, mlp: [string, string] = ['mlp.fc1', 'mlp.fc2']) => ({
  norm1: `blocks.${i}.norm1`,
  norm2: `blocks.${i}.norm2`,
  qkv: `blocks.${i}.attn.qkv`,
  projection: `blocks.${i}.attn.proj`,
  mlp: mlp.map((name) => `blocks.${i}.${name}`) as [string, string],
});
const top = { classToken: 'cls_token', positions: 'pos_embed', patches: 'patch_embed.proj', norm: 'norm' };
const scales = (i: number): [string, string] => [`blocks.${i}.ls1.gamma`, `blocks.${i}.ls2.gamma`];

const transformers = (prefix: string) => ({
  classToken: `${prefix}embeddings.cls_token`,
  positions: `${prefix}embeddings.position_embeddings`,
  patches: `${prefix}embeddings.patch_embeddings.projection`,
  norm: `${prefix}layernorm`,
});
const attentionNames = (layer: string) => ({
  qkv: ['query', 'key', 'value'].map((part) => `${layer}.attention.attention.${part}`) as [string, string, string],
  projection: `${layer}.attention.output.dense`,
});

const names = {
  timm: { ...top, block: (i) => vision(i) } as Names,
  timmRegisters: {
    ...top,
    registers: 'reg_token',
    block: (i) => ({ ...vision(i), scales: scales(i) }),
  } as Names,
  meta: { ...top, block: (i) => ({ ...vision(i), scales: scales(i) }) } as Names,
  metaRegisters: {
    ...top,
    registers: 'register_tokens',
    block: (i) => ({ ...vision(i), scales: scales(i) }),
  } as Names,
  metaGiant: { ...top, block: (i) => ({ ...vision(i, ['mlp.w12', 'mlp.w3']), scales: scales(i) }) } as Names,
  vit: (prefix: string): Names => ({
    ...transformers(prefix),
    block: (i) => {
      const layer = `${prefix}encoder.layer.${i}`;
      return {
        ...attentionNames(layer),
        norm1: `${layer}.layernorm_before`,
        norm2: `${layer}.layernorm_after`,
        mlp: [`${layer}.intermediate.dense`, `${layer}.output.dense`],
      };
    },
  }),
  dinov2: (prefix: string, parts: { registers?: boolean; swiglu?: boolean } = {}): Names => ({
    ...transformers(prefix),
    ...(parts.registers && { registers: `${prefix}embeddings.register_tokens` }),
    block: (i) => {
      const layer = `${prefix}encoder.layer.${i}`;
      const mlp = parts.swiglu ? ['weights_in', 'weights_out'] : ['fc1', 'fc2'];
      return {
        ...attentionNames(layer),
        norm1: `${layer}.norm1`,
        norm2: `${layer}.norm2`,
        mlp: mlp.map((name) => `${layer}.mlp.${name}`) as [string, string],
        scales: [`${layer}.layer_scale1.lambda1`, `${layer}.layer_scale2.lambda1`],
      };
    },
  }),
  timmClip: { ...top, preNorm: 'norm_pre', block: (i) => vision(i) } as Names,
  clip: {
    classToken: 'vision_model.embeddings.class_embedding',
    positions: 'vision_model.embeddings.position_embedding.weight',
    patches: 'vision_model.embeddings.patch_embedding',
    preNorm: 'vision_model.pre_layrnorm',
    norm: 'vision_model.post_layernorm',
    block: (i) => {
      const layer = `vision_model.encoder.layers.${i}`;
      return {
        norm1: `${layer}.layer_norm1`,
        norm2: `${layer}.layer_norm2`,
        qkv: ['q', 'k', 'v'].map((part) => `${layer}.self_attn.${part}_proj`) as [string, string, string],
        projection: `${layer}.self_attn.out_proj`,
        mlp: [`${layer}.mlp.fc1`, `${layer}.mlp.fc2`],
      };
    },
  } as Names,
};

const shape = { heads: tiny.heads, patch: tiny.patch, grid: tiny.grid };
const vit = { ...shape, epsilon: 1e-12, activation: 'gelu', antialias: false } as const;
const dinov2 = { ...vit, epsilon: 1e-6 } as const;
const clip = { ...shape, epsilon: 1e-5, activation: 'quick-gelu', antialias: false, names: names.clip } as const;
/** How the checkpoints of `plain-checkpoints.ts` are computed, at the sizes of `tiny`. */
export const families: Readonly<Record<string, Family>> = {
  'timm ViT': { ...dinov2, antialias: true, names: names.timm },
  'timm CLIP': { ...clip, antialias: true, names: names.timmClip },
  'timm DINOv2 with registers': { ...dinov2, antialias: true, names: names.timmRegisters },
  'Meta DINOv2': { ...dinov2, names: names.meta },
  'Meta DINOv2 with registers': { ...dinov2, antialias: true, names: names.metaRegisters },
  'Meta DINOv2 giant': { ...dinov2, activation: 'swiglu', names: names.metaGiant },
  ViTModel: { ...vit, names: names.vit('') },
  ViTForImageClassification: { ...vit, names: names.vit('vit.') },
  Dinov2Model: { ...dinov2, names: names.dinov2('') },
  'Dinov2Model giant': { ...dinov2, activation: 'swiglu', names: names.dinov2('', { swiglu: true }) },
  Dinov2ForImageClassification: { ...dinov2, names: names.dinov2('dinov2.') },
  Dinov2WithRegistersModel: { ...dinov2, antialias: true, names: names.dinov2('', { registers: true }) },
  CLIPVisionModel: clip,
  CLIPModel: clip,
};
