import type { Attribute } from '@slimsam/weights';
import { parseSamConfig, type SamConfig } from '../sam/config.ts';
import { most, type SamWidths } from './sam-shapes.ts';

/** A config, and for each block the head width whose ^-1/2 scales its attention scores in the file's own model. */
export interface InferredConfig {
  config: SamConfig;
  scaleWidths: readonly number[];
  /** Whether the file tells the decoder's heads, or is as wide as the SAMs that Meta released, which have 8. */
  decoderHeadsTold: boolean;
}

/**
 * Finds a config: what is given, else the fields of a whole module ('image_encoder.num_heads'), else the shapes. What none of them
 * tell has SAM's own value: 8 decoder heads; without relative positions heads and global blocks must be given.
 * Each block scales its scores by the width of its own heads, as SAM and SlimSAM do, unless `headWidth` is given or the module says otherwise; the widest of them becomes the config's `headWidth`.
 *
 * @throws when the weights that a field is read from are missing, naming the field
 */
export function inferConfig(
  widths: SamWidths,
  given: Partial<SamConfig>,
  fields: ReadonlyMap<string, Attribute>,
): InferredConfig {
  const { grid, patchSize, blocks } = widths;
  const field = (name: string) => {
    const value = fields.get(name);
    return typeof value === 'number' ? value : undefined;
  };
  const relative = blocks.some(({ side }) => !Number.isNaN(side));
  const windows = blocks.map(({ side }) => side).filter((side) => side !== grid);
  const heads =
    given.heads ??
    field('image_encoder.blocks.0.attn.num_heads') ??
    most(blocks.map(({ inner, head }) => inner / head));
  const scaleWidths = blocks.map(({ head, inner }, i) => {
    const scale = field(`image_encoder.blocks.${i}.attn.scale`);
    return given.headWidth ?? (scale ? Math.round(scale ** -2) : relative ? head : inner / heads);
  });
  const told = given.decoderHeads ?? field('mask_decoder.transformer.num_heads');
  const inferred = {
    imageSize: grid * patchSize,
    patchSize,
    heads,
    headWidth: Math.max(...scaleWidths),
    windowSize: relative && windows.length > 0 ? most(windows) : grid,
    globalBlocks: relative ? blocks.flatMap(({ side }, i) => (side === grid ? [i] : [])) : Number.NaN,
    decoderHeads: told ?? 8,
  };
  const config = { ...inferred, ...given };
  const unknown = Object.entries(config).find(([, value]) => Number.isNaN(value) || value === Number.NEGATIVE_INFINITY);
  if (unknown) {
    throw new Error(
      `loadSam: expected weights that tell ${unknown[0]}, got none; give it as config: { ${unknown[0]} }`,
    );
  }
  const checked = parseSamConfig(config);
  checkHeads(widths, checked);
  return { config: checked, scaleWidths, decoderHeadsTold: told !== undefined || widths.prompt === 256 };
}

/** @throws when the heads do not divide the widths that they are cut from */
function checkHeads({ blocks, prompt, decoderCross }: SamWidths, { heads, decoderHeads }: SamConfig): void {
  blocks.forEach(({ inner, head }, i) => {
    if (Number.isNaN(inner) || (Number.isNaN(head) && inner % heads === 0)) return;
    const own = inner / head; // pruning may have left fewer heads than the model's
    if (Number.isInteger(own) && own <= heads) return;
    const got = `${inner} rows of q in block ${i}${Number.isNaN(head) ? '' : `, whose relative positions are ${head} wide`}`;
    throw new Error(`loadSam: expected weights for ${heads} heads, got ${got}; give config: { heads }`);
  });
  for (const width of [prompt, decoderCross]) {
    if (Number.isNaN(width) || width % decoderHeads === 0) continue;
    throw new Error(
      `loadSam: expected widths of the mask decoder that ${decoderHeads} heads divide, got ${width}; give config: { decoderHeads }`,
    );
  }
}
