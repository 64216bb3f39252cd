import { checkRatio, type Recipe } from './recipe.ts';

/**
 * The alternate slimming of the paper (SlimSAM section 3.3): the embedding is pruned and the bottleneck aligned, then the bottleneck is
 * pruned and the embedding aligned.
 *
 * @param options.ratio the share of channels to remove in each half of the structure
 * @param options.epochs of each stage; 20 unless given, as in the paper
 * @param options.learningRate 1e-4 unless given, as in the paper
 * @throws when the ratio is not in [0, 1)
 */
export function slimSam(options: {
  readonly ratio: number;
  readonly epochs?: number;
  readonly learningRate?: number;
}): Recipe {
  const { epochs = 20, learningRate = 1e-4 } = options;
  const ratio = checkRatio(options.ratio, 'slimSam');
  return {
    name: 'slimsam',
    steps: [
      { kind: 'prune', name: 'prune the embedding', structure: 'embedding', ratio },
      { kind: 'align', name: 'align the bottleneck', structure: 'bottleneck', epochs, learningRate },
      { kind: 'prune', name: 'prune the bottleneck', structure: 'bottleneck', ratio },
      { kind: 'align', name: 'align the embedding', structure: 'embedding', epochs, learningRate },
    ],
  };
}
