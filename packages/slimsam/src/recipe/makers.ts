import { checkFields } from '@slimsam/weights';
import type { Target } from '../models/ratio-for.ts';
import type { Augment } from '../photographs/augment.ts';
import type { Alpha } from './alpha.ts';
import { type AlignStep, checkRatio, type PruneStep, type Recipe, type RecipeStep } from './recipe.ts';
import type { Scoring } from './scoring.ts';

/** What the makers take besides ratios; the paper's values unless given. */
export interface RecipeOptions extends Scoring {
  /** What the slim model is to cost: the last pruning step comes to it. `ratioFor` gives the ratio of the steps before. */
  readonly target?: Target;
  /** Of each aligning step; 20 unless given. */
  readonly epochs?: number;
  /** Optimizer steps of an epoch; a whole round of the photographs unless given. */
  readonly stepsPerEpoch?: number;
  /** 1e-4 unless given. */
  readonly learningRate?: number;
  /** The learning rate is a share of each weight's size, like 3e-3: for layers of very different sizes, as those with folded layer scales. */
  readonly relative?: boolean;
  /** Steps in which the learning rate rises; 0 unless given. */
  readonly warmup?: number;
  /** 'cosine': the learning rate falls to 0 within each aligning step, rather than where the validation does not improve. */
  readonly decay?: 'cosine';
  /** Flips and scales by chance in the aligning steps; none unless given. */
  readonly augment?: Pick<Augment, 'flip' | 'scale' | 'views'>;
  /** Epochs of a stage with intermediates in the loss (N of the falling alpha of stage 2); half of them unless given. The paper's code: 11 of 20. */
  readonly intermediateEpochs?: { readonly bottleneck?: number; readonly embedding?: number };
}

/** What `slimSam` and `rotated` take besides; no part of the paper's recipe. */
export interface SlimSamOptions extends RecipeOptions {
  /** Epochs of a third stage, with prompts in the loop; none unless given. Of a SAM. */
  readonly promptEpochs?: number;
  /**
   * Pixels of the square that a SAM reads in both stages, fewer than its own, so that they take less time. A last stage at its own size
   * aligns the image embedding.
   */
  readonly small?: number;
  /** Photographs by which each pruning is followed by a reconstruction of its layers; none unless given. Of a SAM. */
  readonly reconstruct?: number;
  /** Epochs of the stage at the SAM's own size that follows `small`; 2 unless given. */
  readonly ownSizeEpochs?: number;
  /** Its learning rate; that of the other stages unless given. */
  readonly ownSizeRate?: number;
}

/** What `rotated` takes: it scores no channels, and has no intermediates in its loss. */
export type RotatedOptions = Omit<
  SlimSamOptions,
  'target' | 'intermediateEpochs' | Exclude<keyof Scoring, 'sample' | 'multiples'>
>;

/** The multiples with which the paper's code gets its widths (168 and 696 for SAM-B at 0.77), where every block is cut alike. */
export const paperRounding: { readonly ranking: 'local' } & Pick<Scoring, 'multiples'> = {
  ranking: 'local',
  multiples: { embedding: 12, head: 1, mlp: 12 },
};

/**
 * The alternate slimming of the paper (SlimSAM section 3.3): the embedding is pruned and the bottleneck aligned, then the bottleneck is
 * pruned and the embedding aligned.
 *
 * @param options.ratio the share of channels to remove in each half of the structure
 * @throws when the ratio is not in [0, 1)
 */
export function slimSam(options: SlimSamOptions & { readonly ratio: number }): Recipe {
  checkFields('slimSam', options, { ratio: 'number' });
  checkRatio(options.ratio, 'slimSam');
  const { promptEpochs, small, reconstruct } = options;
  const reconstructed = (step: RecipeStep): RecipeStep[] =>
    step.kind === 'prune' && reconstruct
      ? [
          step,
          { kind: 'reconstruct', name: step.name.replace('prune', 'reconstruct after pruning'), sample: reconstruct },
        ]
      : [step];
  const steps = alternate(options, { ratio: options.ratio, suffix: '' })
    .flatMap(reconstructed)
    .map((step) => ({ ...step, ...(small && { small }) }));
  if (small) steps.push(ownSizeStep(options));
  const third = promptEpochs
    ? [alignStep('align by prompts', 'prompts', { ...options, epochs: promptEpochs }, undefined)]
    : [];
  return { name: 'slimsam', steps: [...withTarget(steps, options.target), ...third] };
}

/**
 * Both halves pruned at once in a basis of principal directions, and only the image embedding aligned after it, in `epochs` epochs: the
 * recipe for few photographs and little time. Of a SAM on a plain ViT; not part of SlimSAM. `sample` photographs tell the directions.
 *
 * @param options.ratio the share of channels to remove in each half of the structure
 * @throws when the ratio is not in [0, 1)
 */
export function rotated(options: RotatedOptions & { readonly ratio: number }): Recipe {
  checkFields('rotated', options, { ratio: 'number' });
  const { sample, multiples, small, reconstruct, promptEpochs } = options;
  const ratio = checkRatio(options.ratio, 'rotated');
  const given = { ...(sample !== undefined && { sample }), ...(multiples && { multiples }) };
  const layers = ratio > 0.6 ? 'outputs' : 'all'; // DINOv2-S: cosine 0.871 at 0.5 by all, 0.838 by outputs; at 0.77 0.712 and 0.791
  const steps: RecipeStep[] = [
    { kind: 'rotate', name: 'rotate', ratio, ...given },
    pruneStep('prune', 'both', ratio, { criterion: 'leading', ...(multiples && { multiples }) }),
    ...(reconstruct ? [{ kind: 'reconstruct', name: 'reconstruct', layers, sample: reconstruct } as const] : []),
    alignStep('align', 'output', options, undefined),
  ];
  const first = steps.map((step) => ({ ...step, ...(small && { small }) }));
  if (small) first.push(ownSizeStep(options));
  if (promptEpochs)
    first.push(alignStep('align by prompts', 'prompts', { ...options, epochs: promptEpochs }, undefined));
  return { name: 'rotated', steps: first };
}

/**
 * Nothing but aligning of outputs, for a slim model that runs before have left: `epochs`, with `small` at that size, then at the own one; and
 * `promptEpochs`. Not part of SlimSAM.
 */
export function aligning(options: Omit<RotatedOptions, 'reconstruct' | 'sample' | 'multiples'> = {}): Recipe {
  checkFields('aligning', { options }, { options: 'object?' });
  const { small, promptEpochs } = options;
  const steps: RecipeStep[] = [{ ...alignStep('align', 'output', options, undefined), ...(small && { small }) }];
  if (small) steps.push(ownSizeStep(options));
  if (promptEpochs)
    steps.push(alignStep('align by prompts', 'prompts', { ...options, epochs: promptEpochs }, undefined));
  return { name: 'align', steps };
}

/**
 * Both halves pruned at once, then only the image embedding aligned, in as many epochs as `slimSam` takes.
 *
 * @throws when the ratio is not in [0, 1)
 */
export function oneShot(options: RecipeOptions & { readonly ratio: number }): Recipe {
  checkFields('oneShot', options, { ratio: 'number' });
  const { epochs = 20 } = options;
  const ratio = checkRatio(options.ratio, 'oneShot');
  return {
    name: 'one-shot',
    steps: withTarget(
      [
        pruneStep('prune', 'both', ratio, options),
        alignStep('align', 'output', { ...options, epochs: 2 * epochs }, undefined),
      ],
      options.target,
    ),
  };
}

/**
 * Alternate slimming in several rounds, each to a higher ratio (of the original's widths). `epochs` are those of each half in all
 * rounds together, so that it costs what `slimSam` costs.
 *
 * @throws when the ratios do not rise within [0, 1), or there are fewer epochs than rounds
 */
export function iterative(ratios: readonly number[], options: RecipeOptions = {}): Recipe {
  checkFields('iterative', { ratios, options }, { ratios: 'list', options: 'object?' });
  const { epochs = 20 } = options;
  ratios.forEach((ratio, i) => {
    checkRatio(ratio, 'iterative');
    if (i > 0 && ratio <= ratios[i - 1]!)
      throw new Error(`iterative: expected rising ratios, got ${ratios[i - 1]} before ${ratio}`);
  });
  if (ratios.length === 0) throw new Error('iterative: expected ratios, got none');
  if (epochs < ratios.length)
    throw new Error(`iterative: expected an epoch for each of ${ratios.length} rounds, got ${epochs}`);
  const steps = ratios.flatMap((ratio, i) => {
    const share = Math.round((epochs * (i + 1)) / ratios.length) - Math.round((epochs * i) / ratios.length);
    return alternate({ ...options, epochs: share }, { ratio, suffix: ` to ${ratio}` });
  });
  return { name: 'iterative', steps: withTarget(steps, options.target) };
}

/**
 * The baseline without a teacher's weights: the slim shapes with random weights, aligned as `oneShot` is.
 *
 * @throws when the ratio is not in [0, 1)
 */
export function scratch(options: RecipeOptions & { readonly ratio: number }): Recipe {
  checkFields('scratch', options, { ratio: 'number' });
  const [prune, align] = oneShot({ ...options, criterion: 'random', ranking: 'local' }).steps;
  return { name: 'scratch', steps: [prune!, { kind: 'initialise', name: 'initialise' }, align!] };
}

function alternate(options: RecipeOptions, { ratio, suffix }: { ratio: number; suffix: string }): RecipeStep[] {
  const { epochs = 20, intermediateEpochs = {} } = options;
  const bottleneck: Alpha = { schedule: 'constant', value: 0.5, until: intermediateEpochs.bottleneck ?? epochs / 2 };
  const until = intermediateEpochs.embedding ?? Math.max(2, Math.round(epochs / 2)); // with N = 1 there would be no intermediates at all
  return [
    pruneStep(`prune the embedding${suffix}`, 'embedding', ratio, options),
    { ...alignStep(`align the bottleneck${suffix}`, 'bottleneck', options, bottleneck), patience: 3 },
    pruneStep(`prune the bottleneck${suffix}`, 'bottleneck', ratio, options),
    { ...alignStep(`align the embedding${suffix}`, 'embedding', options, { schedule: 'falling', until }), patience: 4 },
  ];
}

/** The stage after those that read smaller photographs. */
function ownSizeStep(options: SlimSamOptions): AlignStep {
  const { ownSizeEpochs: epochs = 2, ownSizeRate: learningRate = options.learningRate } = options;
  const how = { ...options, epochs, ...(learningRate !== undefined && { learningRate }) };
  return alignStep('align at the own size', 'output', how, undefined);
}

/** The last pruning step comes to the target. */
function withTarget(steps: RecipeStep[], target: Target | undefined): RecipeStep[] {
  const last = steps.findLastIndex(({ kind }) => kind === 'prune');
  return target ? steps.map((step, i) => (i === last ? ({ ...step, target } as PruneStep) : step)) : steps;
}

function pruneStep(name: string, structure: PruneStep['structure'], ratio: number, options: Scoring): PruneStep {
  const { criterion, loss, accumulate, sigma, sample, ranking, normalise, multiples } = options;
  const scoring = { criterion, loss, accumulate, sigma, sample, ranking, normalise, multiples };
  const given = Object.fromEntries(Object.entries(scoring).filter(([, value]) => value !== undefined));
  return { kind: 'prune', name, structure, ratio, ...given };
}

function alignStep(
  name: string,
  loss: 'bottleneck' | 'embedding' | 'output' | 'prompts',
  options: RecipeOptions,
  alpha: Alpha | undefined,
): AlignStep {
  const { epochs = 20, stepsPerEpoch, learningRate = 1e-4, relative, warmup, decay, augment } = options;
  return {
    ...{ kind: 'align', name, loss, epochs, learningRate },
    ...(stepsPerEpoch !== undefined && { stepsPerEpoch }),
    ...(alpha && { alpha }),
    ...(relative && { relative }),
    ...(warmup !== undefined && { warmup }),
    ...(decay && { decay }),
    ...(augment && { augment }),
  };
}
