import { checkFields, type Dimension, dims } from '@slimsam/weights';
import { markdownTable } from 'markdown-table';
import { classOf, product } from '../axis.ts';
import { plannedShapes } from './apply-plan.ts';
import { blockOf } from './blocks.ts';
import type { Plan } from './plan.ts';

/** A plan as a Markdown table: a row for each dimension or class, then parameters and MACs. */
export function planTable(plan: Plan, options: { readonly by?: 'dimension' | 'class' } = {}): string {
  checkFields('planTable', { options }, { options: 'object?' });
  checkFields('planTable', plan, { shapes: 'object', axes: 'object', keep: 'object', scores: 'object' });
  const { by = 'dimension' } = options;
  const table = dims(
    plan.axes,
    Object.fromEntries(Object.entries(plan.shapes).map(([name, shape]) => [name, { shape }])),
  );
  const after = plannedShapes(plan);
  const rows = [...groupsOf(plan, table, by)].map(([name, members]) => {
    const kept = members.map((member) => plan.keep[member]?.length ?? table.get(member)!.size);
    const total = members.reduce((sum, member) => sum + (plan.scores[member]?.mean ?? 0) * table.get(member)!.size, 0);
    const share = members.reduce((sum, member) => {
      const score = plan.scores[member];
      return sum + (score ? score.kept * score.mean * table.get(member)!.size : 0);
    }, 0);
    return [
      name,
      range(members.map((member) => table.get(member)!.size)),
      range(kept),
      total === 0 ? '' : `${((100 * share) / total).toFixed(1)} %`,
    ];
  });
  const counts = (['parameters', 'macs', 'macsWithAttention', 'paperMacs'] as const).flatMap((name) => {
    const [from, to] = [plan.before[name], plan.after[name]];
    return from === undefined || to === undefined ? [] : [[labels[name], grouped(from), grouped(to), '']];
  });
  const blocks = plan.blocks ? [['blocks', `${plan.blocks.of}`, `${plan.blocks.kept.length}`, '']] : [];
  const heading = ['', 'before', 'after', 'share of score kept'];
  const bytes = Object.values(after).reduce((sum, { shape }) => sum + 4 * product(shape), 0);
  const size = ['bytes (float32)', grouped(4 * plan.before.parameters), grouped(bytes), ''];
  return markdownTable([heading, ...rows, ...blocks, ...counts, size], { align: ['l', 'r', 'r', 'r'] });
}

const labels = {
  parameters: 'parameters',
  macs: 'MACs',
  macsWithAttention: 'MACs with attention',
  paperMacs: "MACs as the paper's",
};

function groupsOf(plan: Plan, table: ReadonlyMap<string, Dimension>, by: 'dimension' | 'class'): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const name of table.keys()) {
    const block = blockOf(name);
    if (plan.blocks && block !== undefined && !plan.blocks.kept.includes(block)) continue;
    if (!Object.hasOwn(plan.keep, name) && by === 'dimension') continue;
    const group = by === 'class' ? classOf(name) : name;
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return groups;
}

const grouped = (value: number): string => value.toLocaleString('en');

/** '14' or '10 to 16'. */
function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? `${least}` : `${least} to ${most}`;
}
