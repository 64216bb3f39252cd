import { type Command, Option } from 'commander';
import type { Model } from '../models/network.ts';
import { ratioFor } from '../models/ratio-for.ts';
import {
  aligning,
  iterative,
  oneShot,
  paperRounding,
  type RecipeOptions,
  rotated,
  type SlimSamOptions,
  scratch,
  slimSam,
} from '../recipe/makers.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { naturalNumber, numbers, positiveInteger, positiveNumber, probability } from './options.ts';

/** Recipes that prune, by name. */
export const recipeNames = ['slimsam', 'one-shot', 'iterative', 'scratch', 'rotated'] as const;
export type RecipeName = (typeof recipeNames)[number];

/** What commands take that compress. */
export interface RecipeParts {
  readonly epochs: number;
  readonly promptEpochs: number;
  readonly steps?: number;
  readonly rate?: number;
  readonly relative: boolean;
  readonly warmup?: number;
  readonly cosine: boolean;
  readonly flip?: number;
  readonly jitter?: number[];
  readonly views?: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly recompute: boolean;
  readonly size?: number;
  readonly small?: number;
  readonly ownSizeEpochs?: number;
  readonly ownSizeRate?: number;
  readonly reconstruct?: number;
  readonly criterion?: 'taylor' | 'magnitude' | 'random';
  readonly sample?: number;
  readonly rounding: string;
  readonly held?: number;
  readonly subset?: number;
  readonly strict: boolean;
  readonly save: number;
}

/** And which recipe, how far. */
export interface OneRecipe extends RecipeParts {
  readonly recipe: RecipeName | 'align';
  readonly ratio?: number;
  readonly params?: number;
  readonly macs?: number;
}

/** Adds the options of commands that compress. */
export function onRecipe(command: Command): Command {
  return command
    .option('--epochs <n>', 'of each stage', positiveInteger, 20)
    .option(
      '--prompt-epochs <n>',
      "of a third stage, beyond the paper's recipe: the original's masks by prompts",
      naturalNumber,
      0,
    )
    .option('--steps <n>', 'optimizer steps of an epoch (default: all photographs)', positiveInteger)
    .option('--rate <number>', 'the learning rate (default: 1e-4)', positiveNumber)
    .option(
      '--relative',
      "the rate is a share of each weight's size, like 3e-3: for layers of very different sizes",
      false,
    )
    .option('--warmup <n>', 'steps in which the learning rate rises, in each stage (default: 0)', naturalNumber)
    .option('--cosine', 'the learning rate falls to 0 within each stage, which serves few epochs', false)
    .option('--flip <probability>', 'photographs are mirrored so often in training', probability)
    .option('--jitter <least,largest>', 'photographs are scaled by chance in training, like 0.8,1.25', numbers(2))
    .option(
      '--views <n>',
      'so many variations of each photograph by --flip and --jitter, one an epoch; then they begin anew, and --cache serves',
      positiveInteger,
    )
    .option('--batch <n>', 'photographs in a batch', positiveInteger, 4)
    .option('--accumulate <n>', 'batches in an optimizer step', positiveInteger, 1)
    .option('--recompute', 'less memory, more time: blocks run again in the backward pass', false)
    .option('--size <pixels>', 'of the square that a plain ViT reads (default: its own)', positiveInteger)
    .option(
      '--small <pixels>',
      "of the square that a SAM reads in both stages, which takes less time; a last one is at the SAM's own size",
      positiveInteger,
    )
    .option('--own-size-epochs <n>', 'of that last stage, after --small (default: 2)', positiveInteger)
    .option('--own-size-rate <number>', 'of that last stage (default: --rate)', positiveNumber)
    .option(
      '--reconstruct <n>',
      "photographs by which the layers of a pruned SAM are fitted anew by least squares, beyond the paper's recipe (default: none)",
      positiveInteger,
    )
    .addOption(
      new Option('--criterion <name>', 'of channels (default: disturbed Taylor)').choices([
        'taylor',
        'magnitude',
        'random',
      ]),
    )
    .option('--sample <n>', 'photographs that score (default: 1000)', positiveInteger)
    .option('--rounding <multiple>', "of kept widths: a number, or 'paper' for the paper's uniform widths", '8')
    .option('--held <n>', 'photographs held back for validation (default: an eighth, 64 at most)', naturalNumber)
    .option('--subset <n>', 'so many of the photographs, by chance', positiveInteger)
    .option('--strict', 'a photograph that cannot be read is an error', false)
    .option('--save <minutes>', 'between two checkpoints, besides those after each epoch', positiveNumber, 10);
}

/** The recipe of a command's options. @throws when the rounding is neither a number nor 'paper', or no ratio comes to the target */
export async function recipeOf(model: Model, options: OneRecipe): Promise<Recipe> {
  const { params, macs, epochs, steps, rate, flip, jitter, views, criterion, sample, size } = options;
  const { promptEpochs, small, ownSizeEpochs, reconstruct } = options;
  const { recipe } = options;
  const pruning = recipe === 'slimsam' || recipe === 'rotated';
  for (const [name, value] of Object.entries({ 'prompt-epochs': promptEpochs, small, reconstruct }))
    if (value && !pruning && !(recipe === 'align' && name !== 'reconstruct'))
      throw new Error(`--${name}: expected the recipe 'slimsam' or 'rotated', got '${recipe}'; leave it out`);
  if ((ownSizeEpochs ?? options.ownSizeRate) !== undefined && small === undefined)
    throw new Error(
      '--own-size-epochs, --own-size-rate: expected --small beside them, got none; every stage is at the own size then',
    );
  const varying = flip !== undefined || jitter !== undefined;
  if (views !== undefined && !varying)
    throw new Error('--views: expected --flip or --jitter beside it, got neither; photographs do not vary then');
  const multiple = Number(options.rounding);
  const paper = options.rounding === 'paper';
  if (!paper && !(Number.isInteger(multiple) && multiple >= 1))
    throw new Error(`--rounding: expected 1, 2, … or 'paper', got '${options.rounding}'`);
  const target = params !== undefined ? { parameters: params } : macs !== undefined ? { macs } : undefined;
  const uniform = { embedding: multiple, head: multiple, mlp: multiple };
  const multiples = paper ? paperRounding.multiples : multiple === 8 ? undefined : uniform;
  const solved = target && (await ratioFor(model, target, { ...(multiples && { multiples }), ...(size && { size }) }));
  const ratio = solved?.ratio ?? options.ratio ?? 0.5;
  const how: RecipeOptions & { ratio: number } = {
    ...{ ratio, epochs },
    ...(target && { target }),
    ...(paper ? paperRounding : multiples && { multiples }),
    ...(steps !== undefined && { stepsPerEpoch: steps }),
    ...(rate !== undefined && { learningRate: rate }),
    ...(options.relative && { relative: true }),
    ...(options.warmup !== undefined && { warmup: options.warmup }),
    ...(options.cosine && { decay: 'cosine' as const }),
    ...(varying && {
      augment: {
        ...(flip !== undefined && { flip }),
        ...(jitter && { scale: [jitter[0]!, jitter[1]!] as const }),
        ...(views !== undefined && { views }),
      },
    }),
    ...(criterion && criterion !== 'taylor' && { criterion }),
    ...(sample !== undefined && { sample }),
  };
  if (recipe === 'one-shot') return oneShot(how);
  if (recipe === 'scratch') return scratch(how);
  const whole: SlimSamOptions & { ratio: number } = {
    ...how,
    ...(promptEpochs > 0 && { promptEpochs }),
    ...(small !== undefined && { small }),
    ...(ownSizeEpochs !== undefined && { ownSizeEpochs }),
    ...(options.ownSizeRate !== undefined && { ownSizeRate: options.ownSizeRate }),
    ...(reconstruct !== undefined && { reconstruct }),
  };
  if (options.recipe === 'slimsam') return slimSam(whole);
  if (recipe === 'align') {
    refuse(recipe, { criterion, params, macs, ratio: options.ratio }, '--start says what was pruned');
    return aligning(whole);
  }
  if (recipe === 'rotated') {
    refuse(recipe, { criterion, params, macs }, '--ratio says how far it goes');
    return rotated(whole);
  }
  const rounds = Math.max(1, Math.min(epochs, Math.ceil(ratio / 0.1 - 1e-9)));
  const ratios = Array.from({ length: rounds }, (_, i) => Number(((ratio * (i + 1)) / rounds).toFixed(4)));
  return iterative(ratios, how);
}

/** @throws when one of these options was given */
function refuse(recipe: string, options: Readonly<Record<string, unknown>>, cure: string): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined) throw new Error(`--${name}: expected none with the recipe '${recipe}', got one; ${cure}`);
}
