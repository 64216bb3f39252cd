import { checkFields, type FileTarget, makeFolder, saveWeights, type Weights, writeFileAtomic } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { huggingFaceConfigs } from './hugging-face-config.ts';
import type { Sam } from './load-sam.ts';
import { huggingFaceCopy, huggingFaceName, ofPart, partName, type SamPart } from './names.ts';
import { readWidths, type SamWidths } from './sam-shapes.ts';

export interface SaveSamOptions {
  /** 'meta' (the default): one safetensors file. 'hugging-face': a folder that transformers' SamModel reads. */
  names?: 'meta' | 'hugging-face';
  /** 'split' as in SlimSAM, with Meta's names only. The default is 'fused'. */
  qkv?: 'fused' | 'split';
  /** Of the floats, by default F32. */
  dtype?: 'F32' | 'F16';
  /** Saves the encoder or the decoder alone, for `loadSam` with the same `part`; with Meta's names only. */
  part?: SamPart;
}

/**
 * Saves a SAM so that `loadSam` gives it back. With Meta's names the config stands in the file's metadata as `sam_config`; with Hugging
 * Face's, config.json and preprocessor_config.json stand beside model.safetensors. SamModel scales attention by the heads' own
 * width, so a pruned model's q and relative positions are rescaled to it (see `loadSam`).
 *
 * @param target a file for Meta's names (in browsers a handle), a folder for Hugging Face's, which is made if need be
 * @throws when the file cannot be written (an old one then stays), a value is beyond F16's +-65504, or SamModel cannot hold the model:
 *   it wants the same widths in every block, and q as wide as the embedding
 */
export async function saveSam(target: FileTarget, sam: Sam, options: SaveSamOptions = {}): Promise<void> {
  checkFields('saveSam', sam, { weights: 'object', config: 'object' });
  const { dtype = 'F32', names = 'meta', qkv = 'fused' } = options;
  if (names === 'hugging-face') {
    if (options.part)
      throw new Error(
        `saveSam: expected all of the SAM with Hugging Face's names, got part: '${options.part}'; leave it out`,
      );
    if (qkv === 'split')
      throw new Error("saveSam: expected qkv: 'fused' with Hugging Face's names, got 'split'; SamModel has no other");
    if (typeof target !== 'string')
      throw new Error(
        "saveSam: expected a folder's path for Hugging Face's names, got a handle; save with names: 'meta'",
      );
    return saveFolder(target, sam, dtype);
  }
  const wanted = Object.fromEntries(ofPart(Object.entries(sam.weights), options.part));
  const { made, weights } = qkv === 'split' ? splitQkv(wanted) : { made: [], weights: wanted };
  try {
    await saveWeights(target, weights, { dtype, metadata: { format: 'pt', sam_config: JSON.stringify(sam.config) } });
  } finally {
    tf.dispose(made);
  }
}

/** Weights, and those of them that were made here and are to be freed. */
interface Renamed {
  weights: Weights;
  made: tf.Tensor[];
}

function splitQkv(weights: Weights): Renamed {
  const made: tf.Tensor[] = [];
  const renamed = Object.entries(weights).flatMap(([name, weight]) => {
    if (!/\.attn\.qkv\.(weight|bias)$/.test(name)) return [[name, weight] as const];
    const value = weights[name.replace(/qkv\.(weight|bias)$/, 'proj.weight')]?.shape[1];
    if (value !== undefined && weight.shape[0] !== 3 * value)
      throw new Error(
        `saveSam: expected q, k and v of one width to split '${name}' [${weight.shape}], got v of ${value}; save it fused`,
      );
    const parts = tf.split(weight, 3);
    made.push(...parts);
    return parts.map((part, i) => [partName(name, i), part] as const);
  });
  return { weights: Object.fromEntries(renamed), made };
}

async function saveFolder(path: string, sam: Sam, dtype: 'F32' | 'F16'): Promise<void> {
  const widths = readWidths(sam.weights);
  checkUniform(widths, sam.config.heads);
  const ownHead = widths.embed / sam.config.heads;
  const { join } = await import('#node');
  await makeFolder(path);
  const { made, weights } = huggingFaceWeights(sam.weights, Math.sqrt(ownHead / sam.config.headWidth));
  try {
    await saveWeights(join(path, 'model.safetensors'), weights, { dtype, metadata: { format: 'pt' } });
  } finally {
    tf.dispose(made);
  }
  for (const [name, json] of Object.entries(huggingFaceConfigs(sam.config, widths))) {
    await writeFileAtomic(join(path, name), `${JSON.stringify(json, null, 2)}\n`);
  }
}

function checkUniform({ blocks, embed }: SamWidths, heads: number): void {
  const words = blocks.map(
    ({ inner, value, head, mlp }) =>
      `${inner === value ? inner : `${inner}, v ${value}`} / ${Number.isNaN(head) ? inner : heads * head} / ${mlp}`,
  );
  const wanted = `${embed} / ${embed} / ${blocks[0]?.mlp}`;
  if (blocks.length > 0 && words.every((word) => word === wanted)) return;
  throw new Error(
    `saveSam: expected q / heads / MLP of ${wanted} in every block for Hugging Face's SamModel, got ${words.join(', ')}; save it with names: 'meta'`,
  );
}

/** Hugging Face's names; q times the factor, relative positions divided by it. */
function huggingFaceWeights(weights: Weights, factor: number): Renamed {
  const made: tf.Tensor[] = [];
  const keep = (tensor: tf.Tensor) => {
    made.push(tensor);
    return tensor;
  };
  const rescaled = (name: string, weight: tf.Tensor) => {
    if (factor === 1) return weight;
    if (/\.rel_pos_[hw]$/.test(name)) return keep(tf.div(weight, factor));
    if (!/\.attn\.qkv\.(weight|bias)$/.test(name)) return weight;
    return keep(
      tf.tidy(() => {
        const [q, ...rest] = tf.split(weight, 3);
        return tf.concat([tf.mul(q!, factor), ...rest]);
      }),
    );
  };
  const renamed = Object.entries(weights).map(([name, weight]) => [huggingFaceName(name), rescaled(name, weight)]);
  const gaussian = weights['prompt_encoder.pe_layer.positional_encoding_gaussian_matrix']!;
  return { weights: Object.fromEntries([...renamed, [huggingFaceCopy, gaussian]]), made };
}
