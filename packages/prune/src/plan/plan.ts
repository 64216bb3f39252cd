import { type Axes, type Costs, checkFields, dims } from '@slimsam/weights';
import { dimensionOf, type Keep, type PerDimension, presentAxes, type Shapes } from '../axis.ts';
import { countMacs, countParameters, type Macs } from '../count.ts';
import { climb, type Ladder, makeLadders } from '../ladder.ts';
import { budgetsOf, keepSteps, type RankingOptions, ratios, removedShare, shareOf } from '../select.ts';
import { resizedShapes } from '../surgery.ts';
import { type Blocks, blockOf, countBlocks, renameCosts, renameKeys } from './blocks.ts';
import { solveTarget } from './solve-target.ts';
import type { Target } from './targets.ts';

/** What a model costs for one image; MACs where its `Costs` were given. */
export type Counts = { readonly parameters: number } & Partial<Macs>;

/** Scores of a dimension's channels, before normalising. */
export interface ScoreSummary {
  /** The part of the sum that the kept channels hold. */
  readonly kept: number;
  readonly mean: number;
  readonly least: number;
  readonly most: number;
}

/** What goes and what stays of one model: a value that can be saved, read, composed and applied. */
export interface Plan {
  /** Of every weight of the model that the plan is for. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly axes: Axes;
  /** Sorted kept indices by dimension, that is the channel of the model that each channel comes from; dimensions that are not listed stay whole. */
  readonly keep: Keep;
  /** Present when blocks are dropped. */
  readonly blocks?: Blocks;
  /** The parts of the channels that were asked to go (by a ratio) and that go. */
  readonly asked?: number;
  readonly given: number;
  readonly target?: { readonly name: string; readonly atMost: number; readonly got: number };
  readonly scores: Readonly<Record<string, ScoreSummary>>;
  readonly before: Counts;
  readonly after: Counts;
}

export interface PlanOptions extends RankingOptions {
  /** All weights of the model, or only their shapes. */
  readonly weights: Shapes;
  readonly axes: Axes;
  /** Scores [channels] of the dimensions to prune, from `importance`. */
  readonly importance: Readonly<Record<string, Float32Array>>;
  /**
   * The part that goes, in [0, 1), of all dimensions, or by dimension ('blocks.3.mlp') or class ('blocks.*.mlp'). With a target, ratios
   * give only the proportions; equal ones are the default then.
   */
  readonly ratio?: PerDimension<number>;
  /** What the pruned model may cost; `parametersTarget`, `macsTarget`, `bytesTarget` and `latencyTarget` make one. */
  readonly target?: Target;
  /** For MACs: what the model does with its weights, as `encoderCosts` tells. */
  readonly costs?: Costs;
  /** Blocks that are dropped whole. */
  readonly dropBlocks?: readonly number[];
}

/**
 * Decides what goes: by ratio, or the most that a target leaves. Widths are rounded and balanced as `select` does; a target is met within
 * one rounding step, that is no step of any width fits any more.
 * @throws when neither ratio nor target is given, a dimension is unknown, scores do not fit it, no ratio reaches the target (the least is
 *   named), or all blocks are dropped
 */
export async function plan(options: PlanOptions): Promise<Plan> {
  checkFields('plan', options, { weights: 'object', axes: 'object', importance: 'object' });
  const { weights, importance, target, costs } = options;
  const axes = presentAxes(options.axes, weights);
  const table = dims(axes, weights);
  const blocks = blocksOf(options);
  for (const [name, scores] of Object.entries(importance)) {
    const { size } = dimensionOf(table, name, 'plan');
    if (scores.length !== size) throw new Error(`plan: expected ${size} scores of '${name}', got ${scores.length}`);
  }
  const stay = ([name]: [string, unknown]) => !blocks || isKept(name, blocks);
  const staying = Object.fromEntries(Object.entries(importance).filter(stay));
  const ratio = options.ratio ?? (target ? 0.5 : undefined);
  if (ratio === undefined && !blocks) throw new Error('plan: expected a ratio or a target, got neither');
  const ratioOf = ratios(ratio ?? 0, { names: Object.keys(staying), caller: 'plan' });
  const ladders = makeLadders({ ...options, importance: staying, caller: 'plan' });
  const countsAt = (shapes: Shapes): Counts => ({
    parameters: countParameters(shapes),
    ...(costs && countMacs(shapes, renameCosts(costs, blocksOfShapes(shapes, weights, blocks)))),
  });
  const shapesAt = (steps: readonly number[]): Shapes => {
    const widths = widthsAt(ladders, steps);
    const narrow = resizedShapes(weights, axes, (name) => widths.get(name) ?? table.get(name)!.size);
    return renameKeys(narrow, blocks);
  };
  const costAt = (steps: readonly number[]) => target!.cost(shapesAt(steps), costs && renameCosts(costs, blocks));
  const solved = target && ladders.length > 0 ? await solveTarget({ ladders, ratioOf, target, costAt }) : undefined;
  const steps = solved?.steps ?? climb(ladders, budgetsOf(ladders, ratioOf));
  const keep = keepSteps(ladders, steps);
  return {
    shapes: Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, [...shape]])),
    axes,
    keep,
    ...(blocks && { blocks }),
    ...(!target && { asked: ladders.length === 0 ? 0 : shareOf(ladders, ratioOf) }),
    given: ladders.length === 0 ? 0 : removedShare(keep, staying),
    ...(solved && { target: { name: target!.name, atMost: target!.atMost, got: solved.cost } }),
    scores: Object.fromEntries(Object.entries(staying).map(([name, all]) => [name, summary(all, keep[name]!)])),
    before: countsAt(weights),
    after: countsAt(shapesAt(steps)),
  };
}

function blocksOf({ weights, dropBlocks = [] }: PlanOptions): Blocks | undefined {
  if (dropBlocks.length === 0) return undefined;
  const of = countBlocks(Object.keys(weights));
  for (const block of dropBlocks) {
    if (!Number.isInteger(block) || block < 0 || block >= of)
      throw new Error(`plan: expected blocks to drop in [0, ${of}), got ${block}`);
  }
  const kept = Array.from({ length: of }, (_, i) => i).filter((i) => !dropBlocks.includes(i));
  if (kept.length === 0) throw new Error(`plan: expected a block that stays, got all ${of} dropped`);
  return { kept, of };
}

function isKept(name: string, { kept }: Blocks): boolean {
  const block = blockOf(name);
  return block === undefined || kept.includes(block);
}

/** Costs are named after the whole model; the shapes are its own or those of what is left. */
function blocksOfShapes(shapes: Shapes, weights: Shapes, blocks: Blocks | undefined): Blocks | undefined {
  return shapes === weights ? undefined : blocks;
}

function widthsAt(ladders: readonly Ladder[], steps: readonly number[]): Map<string, number> {
  return new Map(
    ladders.flatMap(({ dimensions, widths }, i) => dimensions.map(({ name }) => [name, widths[steps[i]!]!] as const)),
  );
}

function summary(scores: Float32Array, kept: readonly number[]): ScoreSummary {
  const sum = (values: Iterable<number>) => {
    let total = 0;
    for (const value of values) total += value;
    return total;
  };
  const all = sum(scores);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  const share = all === 0 ? kept.length / scores.length : sum(kept.map((channel) => scores[channel]!)) / all;
  return { kept: share, mean: all / scores.length, least, most };
}
