/** How a checkpoint names the weights of a ViT. */
export type Spelling = 'timm' | 'meta' | 'hugging-face-vit' | 'hugging-face-dinov2' | 'hugging-face-clip';

/** Names in files -> ours, which are timm's with q, k and v fused. `#` is a number; a '.' at the end stands for weight and bias. */
type Table = Readonly<Record<string, string>>;

const own = [
  ...['cls_token', 'pos_embed', 'patch_embed.proj.', 'norm_pre.'],
  ...['blocks.#.norm1.', 'blocks.#.attn.qkv.', 'blocks.#.attn.proj.', 'blocks.#.ls1.gamma'],
  ...['blocks.#.norm2.', 'blocks.#.mlp.fc1.', 'blocks.#.mlp.fc2.', 'blocks.#.ls2.gamma', 'norm.', 'head.'],
  'pooler.dense.', // of a ViTModel that was saved under these names
];
const timm: Table = {
  ...Object.fromEntries(own.map((name) => [name, name])),
  reg_token: 'register_tokens',
};
const meta: Table = {
  ...Object.fromEntries(own.map((name) => [name, name])),
  register_tokens: 'register_tokens',
  mask_token: 'mask_token',
  'blocks.#.mlp.w12.': 'blocks.#.mlp.fc1.',
  'blocks.#.mlp.w3.': 'blocks.#.mlp.fc2.',
};
const huggingFace: Table = {
  'embeddings.cls_token': 'cls_token',
  'embeddings.mask_token': 'mask_token',
  'embeddings.position_embeddings': 'pos_embed',
  'embeddings.patch_embeddings.projection.': 'patch_embed.proj.',
  'encoder.layer.#.attention.attention.query.': 'blocks.#.attn.q.',
  'encoder.layer.#.attention.attention.key.': 'blocks.#.attn.k.',
  'encoder.layer.#.attention.attention.value.': 'blocks.#.attn.v.',
  'encoder.layer.#.attention.output.dense.': 'blocks.#.attn.proj.',
  'layernorm.': 'norm.',
  'classifier.': 'head.',
};
const tables: Readonly<Record<Spelling, Table>> = {
  timm,
  meta,
  'hugging-face-vit': {
    ...huggingFace,
    'encoder.layer.#.layernorm_before.': 'blocks.#.norm1.',
    'encoder.layer.#.layernorm_after.': 'blocks.#.norm2.',
    'encoder.layer.#.intermediate.dense.': 'blocks.#.mlp.fc1.',
    'encoder.layer.#.output.dense.': 'blocks.#.mlp.fc2.',
    'pooler.dense.': 'pooler.dense.',
  },
  'hugging-face-dinov2': {
    ...huggingFace,
    'embeddings.register_tokens': 'register_tokens',
    'encoder.layer.#.norm1.': 'blocks.#.norm1.',
    'encoder.layer.#.norm2.': 'blocks.#.norm2.',
    'encoder.layer.#.layer_scale1.lambda1': 'blocks.#.ls1.gamma',
    'encoder.layer.#.layer_scale2.lambda1': 'blocks.#.ls2.gamma',
    'encoder.layer.#.mlp.fc1.': 'blocks.#.mlp.fc1.',
    'encoder.layer.#.mlp.fc2.': 'blocks.#.mlp.fc2.',
    'encoder.layer.#.mlp.weights_in.': 'blocks.#.mlp.fc1.',
    'encoder.layer.#.mlp.weights_out.': 'blocks.#.mlp.fc2.',
  },
  'hugging-face-clip': {
    'embeddings.class_embedding': 'cls_token',
    'embeddings.position_embedding.weight': 'pos_embed',
    'embeddings.patch_embedding.weight': 'patch_embed.proj.weight',
    'pre_layrnorm.': 'norm_pre.', // so spelt in the checkpoints
    'encoder.layers.#.layer_norm1.': 'blocks.#.norm1.',
    'encoder.layers.#.self_attn.q_proj.': 'blocks.#.attn.q.',
    'encoder.layers.#.self_attn.k_proj.': 'blocks.#.attn.k.',
    'encoder.layers.#.self_attn.v_proj.': 'blocks.#.attn.v.',
    'encoder.layers.#.self_attn.out_proj.': 'blocks.#.attn.proj.',
    'encoder.layers.#.layer_norm2.': 'blocks.#.norm2.',
    'encoder.layers.#.mlp.fc1.': 'blocks.#.mlp.fc1.',
    'encoder.layers.#.mlp.fc2.': 'blocks.#.mlp.fc2.',
    'post_layernorm.': 'norm.',
    'visual_projection.': 'head.',
  },
};

/** Heads stand beside the ViT, outside of its prefix. */
const heads = /^(?:classifier|visual_projection)\./;
/** What a pruned stream is widened with, of our own: under no prefix. */
const projection = 'projection.weight';
/** What older files hold and is no weight. */
const buffers = /(?:^|\.)position_ids$/;

/** Where a tensor of a checkpoint belongs. */
interface Place {
  weight: string;
  /** 0, 1, 2 for q, k, v when they are split; else undefined for the whole weight. */
  part: number | undefined;
}

/** How a checkpoint names its ViT. */
export interface VitNaming {
  spelling: Spelling;
  /** Gives the place of a tensor; 'outside' for other parts of the file, 'unknown' for what no plain ViT has. */
  place(name: string): Place | 'outside' | 'unknown';
}

/**
 * Recognises the spelling of a checkpoint's names, below any prefix ('vit.', 'dinov2.', 'vision_model.', 'model.').
 *
 * @throws when there is no plain ViT in it, naming what was found
 */
export function recogniseVit(names: readonly string[], source: string): VitNaming {
  const start =
    /^(.*?)(patch_embed\.proj\.weight|embeddings\.patch_embeddings\.projection\.weight|embeddings\.class_embedding)$/;
  const found = names.map((name) => start.exec(name)).find((match) => match !== null);
  const isSam = names.some((name) => /(image_encoder|vision_encoder)\.patch_embed\./.test(name));
  if (!found || isSam) {
    const some = names.slice(0, 3).map((name) => `'${name}'`);
    throw new Error(
      `loadVit: expected the names of a ViT of timm or Hugging Face, a DINOv2 or a CLIP vision tower in ${source}, got ${names.length} tensors (${some.join(', ')}…)${isSam ? ' of a SAM; loadSam loads it' : ''}`,
    );
  }
  const prefix = found[1]!;
  const has = (name: string) => names.includes(prefix + name);
  const spelling = spellingOf(found[2]!, has);
  const rules = Object.entries(tables[spelling]).map(rule);
  return {
    spelling,
    place(name) {
      if (name === projection) return { weight: name, part: undefined };
      const inside = name.startsWith(prefix);
      if (buffers.test(name) || (!inside && !heads.test(name))) return 'outside';
      const rest = inside ? name.slice(prefix.length) : name;
      const match = rules.find(([pattern]) => pattern.test(rest));
      if (!match) return inside ? 'unknown' : 'outside';
      const weight = rest.replace(...match);
      const split = /^(.*\.attn)\.([qkv])\.(weight|bias)$/.exec(weight);
      if (!split) return { weight, part: undefined };
      return { weight: `${split[1]}.qkv.${split[3]}`, part: 'qkv'.indexOf(split[2]!) };
    },
  };
}

function spellingOf(first: string, has: (name: string) => boolean): Spelling {
  if (first.startsWith('patch_embed')) return has('mask_token') || has('register_tokens') ? 'meta' : 'timm';
  if (first.endsWith('class_embedding')) return 'hugging-face-clip';
  return has('encoder.layer.0.norm1.weight') ? 'hugging-face-dinov2' : 'hugging-face-vit';
}

function rule([from, to]: [string, string]): [RegExp, string] {
  const ending = from.endsWith('.') ? '(?<end>weight|bias)' : '';
  const pattern = from.replaceAll('.', '\\.').replace('#', '(?<index>\\d+)');
  return [new RegExp(`^${pattern}${ending}$`), `${to.replace('#', '$<index>')}${ending && '$<end>'}`];
}
