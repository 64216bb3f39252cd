import { z } from 'zod';
import type { ScoringOfPart } from '../compress/part-scorer.ts';
import type { Recipe } from '../recipe/recipe.ts';

const ratio = z.number().min(0).lt(1);
const count = z.int().min(1).max(1_000_000_000);
const multiples = z.strictObject({ embedding: count.optional(), head: count.optional(), mlp: count.optional() });

/** How channels are scored by gradients: what of a pruning step can be sent. */
export const scoringSchema: z.ZodType<ScoringOfPart> = z.strictObject({
  accumulate: z.enum(['squared', 'absolute']),
  sigma: z.number().positive().optional(),
  recompute: z.boolean(),
  /** Index of the recipe's step: a part of the noise's seeds. */
  index: z.int().min(0),
});

const prune = z.strictObject({
  kind: z.literal('prune'),
  name: z.string().max(200),
  structure: z.enum(['embedding', 'bottleneck', 'both']),
  ratio,
  target: z
    .union([z.strictObject({ parameters: z.number().positive() }), z.strictObject({ macs: z.number().positive() })])
    .optional(),
  criterion: z.enum(['taylor', 'hessian', 'magnitude', 'magnitude-l1', 'random', 'leading']).optional(),
  accumulate: z.enum(['squared', 'absolute', 'signed']).optional(),
  sigma: z.number().positive().optional(),
  sample: count.optional(),
  ranking: z.enum(['local', 'global', 'sensitivity']).optional(),
  normalise: z.enum(['mean', 'sum', 'max', 'standard', 'gaussian-rank', 'none']).optional(),
  multiples: multiples.optional(),
  small: count.optional(),
});

const alpha = z.discriminatedUnion('schedule', [
  z.strictObject({ schedule: z.literal('constant'), value: z.number(), until: z.number() }),
  z.strictObject({ schedule: z.literal('falling'), until: z.number() }),
]);

const align = z.strictObject({
  kind: z.literal('align'),
  name: z.string().max(200),
  loss: z.enum(['bottleneck', 'embedding', 'output', 'prompts']),
  alpha: alpha.optional(),
  epochs: count,
  stepsPerEpoch: count.optional(),
  learningRate: z.number().positive(),
  relative: z.boolean().optional(),
  warmup: z.int().min(0).optional(),
  decay: z.literal('cosine').optional(),
  patience: z.int().min(0).optional(),
  augment: z
    .strictObject({
      flip: z.number().min(0).max(1).optional(),
      scale: z.tuple([z.number(), z.number()]).optional(),
      views: count.optional(),
    })
    .optional(),
  small: count.optional(),
});

const rotate = z.strictObject({
  ...{ kind: z.literal('rotate'), name: z.string().max(200), ratio, multiples: multiples.optional() },
  ...{ sample: count.optional(), small: count.optional() },
});

const reconstruct = z.strictObject({
  ...{ kind: z.literal('reconstruct'), name: z.string().max(200), layers: z.enum(['all', 'outputs']).optional() },
  ...{ sample: count.optional(), small: count.optional() },
});

const initialise = z.strictObject({ kind: z.literal('initialise'), name: z.string().max(200) });

/** A recipe that is nothing but data: no functions, so that it can be sent. */
export const recipeSchema: z.ZodType<Recipe> = z.strictObject({
  name: z.string().max(200),
  steps: z
    .array(z.discriminatedUnion('kind', [prune, rotate, reconstruct, align, initialise]))
    .min(1)
    .max(200),
});
