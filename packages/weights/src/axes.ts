import { checkFields } from './check-fields.ts';

/** A row-major product: `[4, 'blocks.0.head']` is 4 heads by the head's channels. */
export type Product = readonly (number | string)[];

/**
 * What one axis of a weight is: `null` for a fixed one, a dimension's name, a row-major product of numbers and dimensions, or products
 * stacked one after the other: `{ stacked: [['heads', 'qk'], ['heads', 'qk'], ['heads', 'v']] }` is a fused q, k and v.
 */
export type Axis = null | string | Product | { readonly stacked: readonly Product[] };

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
  checkFields('dims', { axes, weights }, { axes: 'object', weights: 'object' });
  const members = collectMembers(axes, weights);
  const solved: Solved = { sizes: new Map(), products: new Map() };
  let open = [...members];
  while (open.length > 0) {
    const later = open.filter((member) => !solve(member, { axes, weights, solved }));
    if (later.length === open.length) {
      const { weight, axis } = open[0]!;
      throw new Error(
        `dims: expected at most one unknown dimension in axis ${axis} of '${weight}', got ${inWords(axes[weight]![axis]!)}; list a weight that has one of them alone`,
      );
    }
    open = later;
  }
  const found = new Map<string, { size: number; members: Member[] }>();
  for (const member of members) {
    for (const factor of new Set(partsOf(axes[member.weight]![member.axis]!).flat())) {
      if (typeof factor === 'number') continue;
      const known = found.get(factor);
      if (known) known.members.push(member);
      else found.set(factor, { size: solved.sizes.get(factor)!.size, members: [member] });
    }
  }
  return found;
}

/** The products that stand one after the other on an axis: `null` has none, a dimension is one of one factor. */
export function partsOf(axis: Axis): readonly Product[] {
  if (axis === null) return [];
  if (typeof axis === 'string') return [[axis]];
  checkFields('partsOf', { axis }, { axis: 'object' });
  return isStacked(axis) ? axis.stacked : [axis];
}

function isStacked(axis: Product | { readonly stacked: readonly Product[] }): axis is {
  readonly stacked: readonly Product[];
} {
  return 'stacked' in axis;
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
      for (const part of partsOf(axis)) {
        const names = part.filter((factor) => typeof factor === 'string');
        if (new Set(names).size < names.length) {
          throw new Error(
            `dims: expected distinct dimensions in axis ${index} of '${weight}', got [${names.join(', ')}]`,
          );
        }
      }
      members.push({ weight, axis: index });
    });
  }
  return members;
}

/** What is known so far: sizes of dimensions, and of products whose dimensions may not be known yet. */
interface Solved {
  readonly sizes: Map<string, { size: number; from: Member }>;
  readonly products: Map<string, { size: number; from: Member }>;
}

interface Table {
  readonly axes: Axes;
  readonly weights: Readonly<Record<string, { shape: readonly number[] }>>;
  readonly solved: Solved;
}

/** Fixes or checks the sizes on one axis; false when too much of it is still unknown. */
function solve(member: Member, table: Table): boolean {
  const { axes, weights, solved } = table;
  const length = weights[member.weight]!.shape[member.axis]!;
  const parts = partsOf(axes[member.weight]![member.axis]!);
  const unknown = parts.filter((part) => sizeOf(part, solved) === undefined);
  const rest = length - parts.reduce((sum, part) => sum + (sizeOf(part, solved) ?? 0), 0);
  if (unknown.length === 0) {
    if (rest !== 0) throw misfit(member, table, `${length - rest}`);
  } else {
    if (new Set(unknown.map(keyOf)).size > 1) return false;
    const each = rest / unknown.length;
    if (!Number.isInteger(each) || each < 0)
      throw misfit(
        member,
        table,
        unknown.length === parts.length ? `a multiple of ${parts.length}` : `${length - rest} or more`,
      );
    solved.products.set(keyOf(unknown[0]!), { size: each, from: member });
  }
  return parts.map((part) => solveProduct(part, member, table)).every(Boolean);
}

/** Fixes the size of a product's one unknown dimension; false when there are more. */
function solveProduct(part: Product, member: Member, table: Table): boolean {
  const { sizes, products } = table.solved;
  const unknown = part.filter((factor) => typeof factor === 'string' && !sizes.has(factor));
  if (unknown.length === 0) return true;
  if (unknown.length > 1) return false;
  const known = part.reduce<number>((size, factor) => {
    return size * (typeof factor === 'number' ? factor : (sizes.get(factor)?.size ?? 1));
  }, 1);
  const size = products.get(keyOf(part))!.size / known;
  if (!Number.isInteger(size)) {
    const copies = partsOf(table.axes[member.weight]![member.axis]!).length;
    throw misfit(member, table, `a multiple of ${known * copies}`);
  }
  sizes.set(String(unknown[0]), { size, from: member });
  return true;
}

/** The size of a product: of its factors, or as an axis has told it; undefined while it is unknown. */
function sizeOf(part: Product, { sizes, products }: Solved): number | undefined {
  let size = 1;
  for (const factor of part) {
    const known = typeof factor === 'number' ? factor : sizes.get(factor)?.size;
    if (known === undefined) return products.get(keyOf(part))?.size;
    size *= known;
  }
  return size;
}

const keyOf = (part: Product): string => part.join(' x ');

function inWords(axis: Axis): string {
  return partsOf(axis)
    .map((part) => `[${part.join(', ')}]`)
    .join(' + ');
}

function misfit(member: Member, { axes, weights, solved }: Table, size: string): Error {
  const axis = axes[member.weight]![member.axis]!;
  const sources = new Set(
    partsOf(axis)
      .flatMap((part) => [
        solved.products.get(keyOf(part)),
        ...part.map((factor) => (typeof factor === 'string' ? solved.sizes.get(factor) : undefined)),
      ])
      .filter((source) => source !== undefined && source.from !== member)
      .map((source) => source!)
      .map(({ from }) => `'${from.weight}' axis ${from.axis}`),
  );
  const because = sources.size > 0 ? ` (sizes from ${[...sources].join(', ')})` : '';
  return new Error(
    `dims: expected axis ${member.axis} of '${member.weight}' to be ${inWords(axis)} = ${size}${because}, got ${weights[member.weight]!.shape[member.axis]}`,
  );
}
