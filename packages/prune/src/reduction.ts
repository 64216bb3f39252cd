/** How the scores of a dimension's members become one score a channel. */
export type Reduction = 'mean' | 'sum' | 'max' | 'first';

/**
 * One score a channel from those of all members, in the order of the table of axes.
 * @throws when there is no member, or the reduction is unknown
 */
export function reduceMembers(members: readonly ArrayLike<number>[], reduction: Reduction): Float32Array {
  const [first] = members;
  if (first === undefined) throw new Error('reduceMembers: expected at least one member, got none');
  if (reduction === 'first') return Float32Array.from(first);
  if (reduction === 'max')
    return Float32Array.from(first, (_, i) => members.reduce((most, member) => Math.max(most, member[i]!), -Infinity));
  if (reduction !== 'mean' && reduction !== 'sum')
    throw new Error(`reduceMembers: expected mean, sum, max or first, got '${reduction}'`);
  const divisor = reduction === 'mean' ? members.length : 1;
  return Float32Array.from(first, (_, i) => members.reduce((sum, member) => sum + member[i]!, 0) / divisor);
}
