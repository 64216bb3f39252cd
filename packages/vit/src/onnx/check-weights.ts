import type { Weights } from '@slimsam/weights';
import { readWidths, samShapes } from '../checkpoint/sam-shapes.ts';
import { gridSize, type SamConfig } from '../sam/config.ts';

/** @throws unless the weights are those of a whole SAM, of shapes that fit each other and the config; up to five problems are named */
export function checkWeights(weights: Weights, config: SamConfig): void {
  const widths = readWidths(weights);
  const problems = Object.entries(samShapes(widths)).flatMap(([name, shape]) => {
    const got = weights[name]?.shape;
    return got?.join() === shape.join()
      ? []
      : [`'${name}' [${shape.join(', ')}], got ${got ? `[${got.join(', ')}]` : 'none'}`];
  });
  const fits = (what: string, expected: number, got: number) => {
    if (expected !== got) problems.push(`${what} ${expected} as the config says, got ${got}`);
  };
  if (problems.length === 0) {
    fits('patches of', config.patchSize, widths.patchSize);
    fits('a grid of', gridSize(config), widths.grid);
    widths.blocks.forEach(({ inner, value, head, side }, i) => {
      if (value !== inner) problems.push(`v of block ${i} as wide as q, ${inner}, got ${value}`);
      if (Number.isNaN(side)) {
        if (inner % config.heads !== 0) problems.push(`q of block ${i} of a multiple of ${config.heads}, got ${inner}`);
        return;
      }
      fits(
        `relative positions of block ${i} for windows of`,
        config.globalBlocks.includes(i) ? gridSize(config) : config.windowSize,
        side,
      );
      fits(`q of block ${i} of`, config.heads * head, inner);
    });
    if (widths.prompt % config.decoderHeads !== 0 || widths.decoderCross % config.decoderHeads !== 0) {
      const got = `${widths.prompt} and ${widths.decoderCross} for ${config.decoderHeads}`;
      problems.push(`widths of the decoder to be multiples of decoderHeads, got ${got}`);
    }
    if (widths.blocks.length === 0) problems.push('blocks of an image encoder, got none');
  }
  if (problems.length === 0) return;
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  throw new Error(
    `exportOnnx: expected ${problems.slice(0, 5).join('; ')}${more}; loadSam loads a whole SAM with its config`,
  );
}
