/**
 * What one axis of a weight is: `null` for a fixed one, a dimension's name, or a row-major product of
 * numbers and dimensions: `[3, 4, 'blocks.0.head']` is q/k/v, by 4 heads, by the head's channels.
 */
export type Axis = null | string | readonly (number | string)[];

/** Weight name -> one `Axis` for each of the tensor's axes. */
export type Axes = Readonly<Record<string, readonly Axis[]>>;

/** One axis of one weight. */
export interface Member {
  weight: string;
  axis: number;
}

/** A group of axes that must keep the same channels. */
export interface Dimension {
  size: number;
  members: readonly Member[];
}

/** The axes of a linear layer in PyTorch's layout: weight [output, input], bias [output]. */
export function linear(name: string, output: Axis, input: Axis): Axes {
  return { [`${name}.weight`]: [output, input], [`${name}.bias`]: [output] };
}

/**
 * Inverts a table of axes: dimension -> its size and the (weight, axis) pairs that have it. Sizes come from the shapes.
 * Weights that the table leaves out are ignored.
 *
 * @throws when a listed weight is missing, ranks differ, or two members disagree about a dimension's size (both are named)
 */
export function dims(
  axes: Axes,
  weights: Readonly<Record<string, { shape: readonly number[] }>>,
): Map<string, Dimension> {
  const members = collectMembers(axes, weights);
  const sizes = new Map<string, { size: number; from: Member }>();
  let open = [...members];
  while (open.length > 0) {
    const later = open.filter((member) => !solve(member, axes, weights, sizes));
    if (later.length === open.length) {
      const { weight, axis } = open[0]!;
      throw new Error(
        `dims: expected at most one unknown dimension in axis ${axis} of '${weight}', got [${factorsOf(axes[weight]![axis]!).join(', ')}]; list a weight that has one of them alone`,
      );
    }
    open = later;
  }
  const found = new Map<string, { size: number; members: Member[] }>();
  for (const member of members) {
    for (const factor of factorsOf(axes[member.weight]![member.axis]!)) {
      if (typeof factor === 'number') continue;
      const known = found.get(factor);
      if (known) known.members.push(member);
      else found.set(factor, { size: sizes.get(factor)!.size, members: [member] });
    }
  }
  return found;
}

/** The factors of an axis, in row-major order: `null` has none, a dimension has one. */
export function factorsOf(axis: Axis): readonly (number | string)[] {
  if (axis === null) return [];
  return typeof axis === 'string' ? [axis] : axis;
}

/** Every axis that is not fixed, after the checks that need no sizes. */
function collectMembers(axes: Axes, weights: Readonly<Record<string, { shape: readonly number[] }>>): Member[] {
  const members: Member[] = [];
  for (const [weight, list] of Object.entries(axes)) {
    const shape = weights[weight]?.shape;
    if (!shape) throw new Error(`dims: expected weight '${weight}' of the table of axes, got none`);
    if (shape.length !== list.length) {
      throw new Error(`dims: expected '${weight}' to have ${list.length} axes, got shape [${shape.join(', ')}]`);
    }
    list.forEach((axis, index) => {
      if (axis === null) return;
      const names = factorsOf(axis).filter((factor) => typeof factor === 'string');
      if (new Set(names).size < names.length) {
        throw new Error(
          `dims: expected distinct dimensions in axis ${index} of '${weight}', got [${names.join(', ')}]`,
        );
      }
      members.push({ weight, axis: index });
    });
  }
  return members;
}

/** Fixes or checks the sizes in one axis; false when more than one of its dimensions is still unknown. */
function solve(
  member: Member,
  axes: Axes,
  weights: Readonly<Record<string, { shape: readonly number[] }>>,
  sizes: Map<string, { size: number; from: Member }>,
): boolean {
  const length = weights[member.weight]!.shape[member.axis]!;
  const factors = factorsOf(axes[member.weight]![member.axis]!);
  let known = 1;
  const unknown: string[] = [];
  const sources = new Set<string>();
  for (const factor of factors) {
    const solved = typeof factor === 'number' ? undefined : sizes.get(factor);
    if (solved) sources.add(`'${solved.from.weight}' axis ${solved.from.axis}`);
    if (typeof factor === 'string' && !solved) unknown.push(factor);
    else known *= typeof factor === 'number' ? factor : solved!.size;
  }
  if (unknown.length > 1) return false;
  const fits = unknown.length === 0 ? length === known : known > 0 && length % known === 0;
  if (!fits) {
    const size = unknown.length === 0 ? `${known}` : `a multiple of ${known}`;
    const because = sources.size > 0 ? ` (sizes from ${[...sources].join(', ')})` : '';
    throw new Error(
      `dims: expected axis ${member.axis} of '${member.weight}' to be [${factors.join(', ')}] = ${size}${because}, got ${length}`,
    );
  }
  const [name] = unknown;
  if (name !== undefined) sizes.set(name, { size: length / known, from: member });
  return true;
}
