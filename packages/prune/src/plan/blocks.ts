import type { Axes, Axis, Costs } from '@slimsam/weights';
import { partsOf } from '@slimsam/weights';

/** The blocks of a model that stay, by their numbers in it, and how many it has. */
export interface Blocks {
  readonly kept: readonly number[];
  readonly of: number;
}

const blockName = /^((?:.*\.)?blocks\.)(\d+)(?=\.|$)/;

/** The block that a weight or dimension belongs to ('image_encoder.blocks.3.norm1.weight': 3); undefined outside of blocks. */
export function blockOf(name: string): number | undefined {
  const match = blockName.exec(name);
  return match ? Number(match[2]) : undefined;
}

/** How many blocks there are. */
export function countBlocks(names: Iterable<string>): number {
  let count = 0;
  for (const name of names) count = Math.max(count, 1 + (blockOf(name) ?? -1));
  return count;
}

/** The name once only the kept blocks are left and numbered anew; undefined for what belongs to a dropped block. */
export function renamed(name: string, blocks: Blocks | undefined): string | undefined {
  const block = blockOf(name);
  if (blocks === undefined || block === undefined) return name;
  const at = blocks.kept.indexOf(block);
  return at < 0 ? undefined : name.replace(blockName, `$1${at}`);
}

/** A record without what belongs to dropped blocks, under its new names. */
export function renameKeys<T>(
  record: Readonly<Record<string, T>>,
  blocks: Blocks | undefined,
  change: (value: T) => T = (value) => value,
): Record<string, T> {
  return Object.fromEntries(
    Object.entries(record).flatMap(([name, value]) => {
      const to = renamed(name, blocks);
      return to === undefined ? [] : [[to, change(value)]];
    }),
  );
}

/** The table of axes of the model with only the kept blocks. */
export function renameAxes(axes: Axes, blocks: Blocks | undefined): Axes {
  const factor = (part: number | string) => (typeof part === 'number' ? part : renamed(part, blocks)!);
  const change = (axis: Axis): Axis => {
    if (axis === null) return null;
    if (typeof axis === 'string') return renamed(axis, blocks)!;
    const parts = partsOf(axis).map((part) => part.map(factor));
    return 'stacked' in axis ? { stacked: parts } : parts[0]!;
  };
  return renameKeys(axes, blocks, (list) => list.map(change));
}

/** The costs of the model with only the kept blocks. */
export function renameCosts(costs: Costs, blocks: Blocks | undefined): Costs {
  const attention = costs.attention.flatMap(({ qkv, proj, ...rest }) => {
    const to = { qkv: renamed(qkv, blocks), proj: renamed(proj, blocks) };
    return to.qkv === undefined || to.proj === undefined ? [] : [{ ...rest, qkv: to.qkv, proj: to.proj }];
  });
  return {
    applications: renameKeys(costs.applications, blocks),
    activations: renameKeys(costs.activations, blocks),
    biases: renameKeys(costs.biases, blocks),
    attention,
  };
}
