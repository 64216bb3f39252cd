import type { AdapterFacts } from '../../device/open-device.ts';
import type { AttentionSpec } from './attention.wgsl.ts';
import type { RowShape } from './attention-rows.wgsl.ts';

/** Which of the GPU kernels. */
export type AttentionKind = 'forward' | 'query' | 'key';

type Facts = Pick<AdapterFacts, 'vendor' | 'features' | 'leastSubgroup'>;
type Sizes = Pick<AttentionSpec, 'Nq' | 'Nk' | 'D' | 'bias' | 'kw'>;

/**
 * The shape to take. By vendor: on an H100 three rows to four lanes
 * were the fastest, and uniform loads the slowest; AMD's and Intel's compilers were only asked for registers and spills (`npm run
 * gpu:stats`), where uniform loads become scalar ones on AMD, and Intel has a quarter of the registers: eight lanes share a row there.
 */
export function attentionShape(kind: AttentionKind, facts: Facts, sizes: Sizes): RowShape {
  const sharing = sharingFor(sizes.D, facts);
  const { part, fewRegisters } = sharing;
  const nvidia = /nvidia/i.test(facts.vendor);
  const rows =
    fewRegisters || part > widestPart || (kind === 'query' && sizes.bias && sizes.kw > widestRow)
      ? 1
      : nvidia && part <= 16
        ? 3
        : 2;
  const shared = inWindows(kind, { sizes, rows, ...sharing });
  if (kind !== 'forward' || sizes.D > widestUniform || !/amd/i.test(facts.vendor)) return shared;
  const padded = paddedRows(uniform, sizes.Nq) / paddedRows(shared, sizes.Nq);
  return padded < mostPadding ? uniform : shared;
}

/** The shape to take as long as nothing is measured, and up to three others: more or fewer rows an invocation, and uniform loads. */
export function attentionShapes(kind: AttentionKind, facts: Facts, sizes: Sizes): readonly RowShape[] {
  const first = attentionShape(kind, facts, sizes);
  const sharing = sharingFor(sizes.D, facts);
  const { part } = sharing;
  const most = kind === 'query' && sizes.bias && sizes.kw > widestRow ? 1 : mostNumbers / (part * tensors[kind]);
  const others = [2, 3, 1, 4]
    .filter((rows) => rows === 1 || rows <= most)
    .map((rows) => inWindows(kind, { sizes, rows, ...sharing }));
  if (kind === 'forward' && sizes.D <= widestUniform) others.unshift(uniform);
  const all = new Map([first, ...others].map((shape) => [shapeName(shape), shape]));
  return [...all.values()].slice(0, 4);
}

/** Names a shape among the candidates. */
export const shapeName = ({ lanes, rows, threads, tiles }: RowShape): string =>
  tiles ? `${rows} rows to ${lanes} lanes, ${threads} threads` : 'uniform loads';

const tensors = { forward: 2, query: 3, key: 4 }; // rows of which an invocation has a part in registers, with its sums
const mostNumbers = 192; // of them, in registers
const uniform: RowShape = { lanes: 1, rows: 1, threads: 64, tiles: false, step: 4, owned: false };
const widestPart = 20; // numbers: two such rows, with their sums, fit 256 registers
const widestRow = 64; // columns of keys whose sums fit beside two rows
const widestUniform = 80; // numbers of a row, twice in registers
const mostPadding = 1.2; // of its rows a workgroup may leave that many times as many as another does

interface Sharing extends Pick<RowShape, 'lanes'> {
  /** Numbers of a row that an invocation has. */
  readonly part: number;
  /** A passing row is then taken alone. */
  readonly fewRegisters: boolean;
}

/** Four lanes where a row can be shared so and the adapter has quad operations; on Intel eight, in pairs of numbers. */
function sharingFor(D: number, { features, vendor, leastSubgroup }: Facts): Sharing {
  const fewRegisters = /intel/i.test(vendor);
  const units = D % 4 === 0 ? D / 4 : D;
  const among = (lanes: RowShape['lanes']) => ({ lanes, part: D / lanes, fewRegisters });
  if (!features.includes('subgroups')) return among(1);
  if (fewRegisters && leastSubgroup >= 8 && D % 16 === 0 && D >= 32) return among(8);
  return among(units % 4 === 0 ? 4 : units % 2 === 0 ? 2 : 1);
}

/** Rows of a side that workgroups of this shape compute, with those past its end. */
function paddedRows({ threads, lanes, rows }: RowShape, N: number): number {
  const each = (threads / lanes) * rows;
  return Math.ceil(N / each) * each;
}

/** The shape with so many rows an invocation; small workgroups where large ones would be mostly past the end, as in windows of 196 rows. */
function inWindows(
  kind: AttentionKind,
  { sizes: { Nq, Nk }, rows, lanes, part, fewRegisters }: Sharing & { readonly sizes: Sizes; readonly rows: number },
): RowShape {
  const N = kind === 'key' ? Nk : Nq;
  const owned = lanes === 4 && (kind === 'forward' || (kind === 'query' && rows === 2 && part <= 16));
  const step = owned ? 4 : fewRegisters ? 1 : stepFor({ kind, part, rows });
  const shape = (threads: number): RowShape => ({ lanes, rows, threads, tiles: true, step, owned });
  if (lanes === 1) return shape(64);
  const [large, small] = [shape(128), shape(64)];
  return paddedRows(large, N) > 1.1 * paddedRows(small, N) ? small : large;
}

/** Passing rows that are taken together: as many as fit the registers. */
function stepFor({ kind, part, rows }: { kind: AttentionKind; part: number; rows: number }): 1 | 2 | 4 {
  if (kind === 'key' || rows > 2) return 1;
  if (kind === 'query') return part <= 20 ? 2 : 1;
  return part <= 32 ? 4 : part <= 64 ? 2 : 1;
}
