import { checkFields, type Dimension, dims, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { keptRows, type Shapes } from '../axis.ts';
import { prunedShapes } from '../surgery.ts';
import { renameAxes, renamed, renameKeys } from './blocks.ts';
import type { Plan } from './plan.ts';

/**
 * The weights that a plan leaves of a model, as new tensors: of the model it was made for, or another checkpoint of the same shapes.
 * @param options.partial true for gradients or optimizer moments, which may cover a part of the weights
 * @throws when the weights are not of the plan's model, naming the first difference
 */
export function applyPlan(plan: Plan, weights: Weights, options: { readonly partial?: boolean } = {}): Weights {
  checkFields('applyPlan', { plan, weights }, { plan: 'object', weights: 'object' });
  checkFields('applyPlan', plan, { shapes: 'object', axes: 'object', keep: 'object' });
  checkModel(plan, weights, { ...options, caller: 'applyPlan' });
  const { blocks } = plan;
  const staying = Object.fromEntries(Object.entries(weights).filter(([name]) => renamed(name, blocks) !== undefined));
  const table = dimensionsOf(plan); // of the plan: a part of the weights may not tell all sizes
  const pruned = tf.tidy(() =>
    Object.fromEntries(
      Object.entries(staying).map(([name, weight]) => {
        let pruned = tf.clone(weight);
        for (const [i, axis] of (plan.axes[name] ?? []).entries()) {
          const rows = keptRows(axis, plan.keep, table);
          if (axis !== null && rows.length < weight.shape[i]!)
            pruned = tf.gather(pruned, tf.tensor1d(rows, 'int32'), i);
        }
        return [name, pruned];
      }),
    ),
  );
  return renameKeys(pruned, blocks);
}

/** The shapes of the model that a plan leaves. */
export function plannedShapes(plan: Plan): Record<string, { shape: number[] }> {
  checkFields('plannedShapes', plan, { shapes: 'object', axes: 'object', keep: 'object' });
  return renameKeys(prunedShapes(shapesOf(plan), plan.axes, plan.keep), plan.blocks);
}

/**
 * One plan that does what two do one after the other.
 * @throws when the second is not for what the first leaves, naming the first difference
 */
export function composePlans(first: Plan, second: Plan): Plan {
  for (const plan of [first, second])
    checkFields('composePlans', plan, { shapes: 'object', axes: 'object', keep: 'object' });
  checkModel(second, plannedShapes(first), { caller: 'composePlans' });
  const left = renameAxes(first.axes, first.blocks);
  for (const name of new Set([...Object.keys(left), ...Object.keys(second.axes)])) {
    const [got, expected] = [second.axes[name], left[name]].map((axes) => JSON.stringify(axes) ?? 'none');
    if (got !== expected)
      throw new Error(
        `composePlans: expected axes ${expected} of '${name}', got ${got}; apply the plans one after the other`,
      );
  }
  const kept = second.blocks?.kept.map((block) => first.blocks?.kept[block] ?? block) ?? first.blocks?.kept;
  const blocks = kept && { kept, of: first.blocks?.of ?? second.blocks!.of };
  const sizes = dimensionsOf(first);
  const merged = <T>(
    ours: Readonly<Record<string, T>>,
    theirs: Readonly<Record<string, T>>,
    both: (first: T, second: T) => T,
  ): Record<string, T> => {
    return Object.fromEntries(
      [...sizes.keys()].flatMap((name) => {
        const between = renamed(name, first.blocks);
        if (renamed(name, blocks) === undefined || between === undefined) return [];
        const [a, b] = [ours[name], theirs[between]];
        const value = a !== undefined && b !== undefined ? both(a, b) : (b ?? a);
        return value === undefined ? [] : [[name, value]];
      }),
    );
  };
  const keep = merged(first.keep, second.keep, (a, b) => b.map((i) => a[i]!));
  const total = Object.keys(keep).reduce((sum, name) => sum + sizes.get(name)!.size, 0);
  const stays = Object.values(keep).reduce((sum, list) => sum + list.length, 0);
  return {
    shapes: first.shapes,
    axes: first.axes,
    keep,
    ...(blocks && { blocks }),
    given: total === 0 ? 0 : 1 - stays / total,
    ...(second.target && { target: second.target }),
    scores: merged(first.scores, second.scores, (a, b) => ({ ...a, kept: a.kept * b.kept })),
    before: first.before,
    after: second.after,
  };
}

/** Where a weight of the pruned model comes from. */
export interface ChannelOrigin {
  /** Its name in the model that the plan is for. */
  readonly name: string;
  /** For each axis, the position there of each of its positions. */
  readonly positions: readonly (readonly number[])[];
}

/** Which name and positions of the plan's model each weight of the pruned one was. */
export function channelOrigins(plan: Plan): Map<string, ChannelOrigin> {
  checkFields('channelOrigins', plan, { shapes: 'object', axes: 'object', keep: 'object' });
  const table = dimensionsOf(plan);
  const origins = new Map<string, ChannelOrigin>();
  for (const [name, shape] of Object.entries(plan.shapes)) {
    const to = renamed(name, plan.blocks);
    if (to === undefined) continue;
    const positions = shape.map((length, i) => {
      const axis = plan.axes[name]?.[i] ?? null;
      return axis === null ? Array.from({ length }, (_, at) => at) : keptRows(axis, plan.keep, table);
    });
    origins.set(to, { name, positions });
  }
  return origins;
}

function dimensionsOf(plan: Plan): Map<string, Dimension> {
  return dims(plan.axes, shapesOf(plan));
}

function shapesOf(plan: Plan): Record<string, { shape: readonly number[] }> {
  return Object.fromEntries(Object.entries(plan.shapes).map(([name, shape]) => [name, { shape }]));
}

/** @throws at the first weight whose name or shape is not that of the plan's model */
function checkModel(
  plan: Plan,
  weights: Shapes,
  { partial = false, caller }: { partial?: boolean; caller: string },
): void {
  const words = (shape: readonly number[] | undefined) => (shape ? `[${shape.join(', ')}]` : 'none');
  for (const name of new Set([...Object.keys(plan.shapes), ...Object.keys(weights)])) {
    const expected = Object.hasOwn(plan.shapes, name) ? plan.shapes[name] : undefined;
    const got = Object.hasOwn(weights, name) ? weights[name]!.shape : undefined;
    if (got === undefined && partial) continue;
    if (expected?.join() !== got?.join())
      throw new Error(
        `${caller}: expected the model of the plan, with '${name}' ${words(expected)}, got ${words(got)}; make a plan of this model`,
      );
  }
}
