import type { DawnToggles } from '../device/dawn.ts';
import {
  type AdapterFacts,
  matrixFeature,
  type SubgroupAttention,
  type SubgroupMatrix,
  type SubgroupTile,
} from '../device/open-device.ts';
import { type ApartWork, resultApart } from '../device/run-apart.ts';
import { extentOf, subgroupMatmul } from '../kernels/matmul/matmul-subgroup.wgsl.ts';
import { fitsSubgroups, subgroupForward } from './attention/attention-subgroup.wgsl.ts';

/** The ways to multiply by matrices of these sizes that are worth a try, within the 16 KiB and 256 invocations that every adapter has. */
export function tilesOf(matrices: readonly SubgroupMatrix[], subgroupSize: number): SubgroupTile[] {
  const tiles = matrices.flatMap(({ M, N, K }) =>
    [
      { down: 2, across: 4, subgroupsDown: 4, subgroupsAcross: 2 },
      { down: 2, across: 2, subgroupsDown: 2, subgroupsAcross: 2 },
    ].map((shape) => ({ ...{ M, N, K, subgroupSize }, ...shape, depth: Math.max(K, 16) })),
  );
  const fits = (tile: SubgroupTile) => {
    const { M, N, K, subgroupsDown, subgroupsAcross, depth } = tile;
    const subgroups = subgroupsDown * subgroupsAcross;
    const { rows, columns } = extentOf(tile);
    const bytes = 2 * depth * (rows + columns) + 4 * subgroups * M * N;
    return depth % K === 0 && N % 4 === 0 && subgroups * subgroupSize <= 256 && bytes <= 16384;
  };
  return subgroupSize > 0 ? tiles.filter(fits) : [];
}

/** The matrices of which attention can be made. */
export const attentionsOf = (matrices: readonly SubgroupMatrix[], subgroupSize: number): SubgroupAttention[] =>
  matrices.map((matrix) => ({ ...matrix, subgroupSize })).filter((matrix) => fitsSubgroups(matrix, probedWidth));

const most = 4; // of each that are tried

/** Those whose results are right on the adapter, each tried in a process of its own: with one shape Dawn ended the process. */
export async function workingSubgroups(
  { tiles, attentions }: { tiles: readonly SubgroupTile[]; attentions: readonly SubgroupAttention[] },
  device: { readonly toggles: DawnToggles; readonly adapter?: string | undefined },
): Promise<Pick<AdapterFacts, 'subgroupTiles' | 'subgroupAttention'>> {
  const features = ['shader-f16', 'subgroups', matrixFeature];
  const right = async <T>(tried: readonly T[], probe: (one: T) => Probe): Promise<T[]> => {
    const good = await Promise.all(
      tried.map(async (one) => {
        const { expected, tolerance, ...work } = probe(one);
        const bytes = await resultApart(work, { ...device, features });
        return bytes !== undefined && isRight(bytes, { expected, tolerance });
      }),
    );
    return tried.filter((_, i) => good[i]);
  };
  const subgroupTiles = await right(tiles.slice(0, most), matmulProbe);
  return { subgroupTiles, subgroupAttention: await right(attentions.slice(0, most), attentionProbe) };
}

/** Float16 inputs, the values that are expected, and how far off they may be, of the largest. */
export interface Probe extends ApartWork {
  readonly expected: Float64Array;
  readonly tolerance: number;
}

function isRight(bytes: Uint8Array, { expected, tolerance }: Pick<Probe, 'expected' | 'tolerance'>): boolean {
  const got = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (got.byteLength !== 2 * expected.length) return false;
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return expected.every((value, i) => Math.abs(value - halfValue(got.getUint16(2 * i, true))) <= tolerance * largest);
}

/** Eighths, so that products and sums are exact. */
const eighths = (length: number, step: number): Float64Array =>
  Float64Array.from({ length }, (_, i) => (((i * step) % 17) - 8) / 8);

const [rows, inner, columns] = [70, 40, 68]; // more than one tile of the smaller kind, and past the ends of all

/** [rows, inner] x [columns, inner]^T in half precision. */
export function matmulProbe(tile: SubgroupTile): Probe {
  const [A, B] = [eighths(rows * inner, 7), eighths(columns * inner, 5)];
  const expected = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      for (let k = 0; k < inner; k++) expected[i * columns + j]! += A[i * inner + k]! * B[j * inner + k]!;
  const spec = {
    ...{ M: rows, N: columns, K: inner, batch: 1, parts: 1, transposeA: false, transposeB: true },
    ...{ broadcastA: true, broadcastB: true, bias: false, activation: undefined, residual: false },
    ...{ halfA: true, halfB: true, halfC: true },
  };
  const inputs = [A, B].map(halfBytes);
  return { program: subgroupMatmul(spec, tile), inputs, outputs: [2 * expected.length], expected, tolerance: 2 ** -9 };
}

const [queries, passing, probedWidth] = [70, 40, 32];

/** Attention of [queries, probedWidth] over [passing, probedWidth], without positions, which no matrix reads. */
export function attentionProbe(matrix: SubgroupAttention): Probe {
  const D = probedWidth;
  const [Q, K, V] = [eighths(queries * D, 7), eighths(passing * D, 5), eighths(passing * D, 3)];
  const scale = D ** -0.5;
  const expected = new Float64Array(queries * D);
  for (let i = 0; i < queries; i++) {
    const weights = Array.from({ length: passing }, (_, k) => {
      let score = 0;
      for (let d = 0; d < D; d++) score += scale * Q[i * D + d]! * K[k * D + d]!;
      return Math.exp(score);
    });
    const total = weights.reduce((sum, weight) => sum + weight);
    for (let d = 0; d < D; d++)
      for (const [k, weight] of weights.entries()) expected[i * D + d]! += (weight / total) * V[k * D + d]!;
  }
  const spec = { G: 1, Nq: queries, Nk: passing, D, kh: passing, kw: 1, scale, bias: false, half: true };
  const outputs = [2 * queries * D, 4 * queries];
  // weights and results are rounded to float16
  return {
    program: subgroupForward(spec, matrix),
    inputs: [Q, K, V].map(halfBytes),
    outputs,
    expected,
    tolerance: 2 ** -8,
  };
}

/** Of numbers that are float16 and not subnormal. */
function halfBytes(values: Float64Array): Uint8Array {
  const bits = Uint16Array.from(values, (value) => {
    const word = new Uint32Array(Float32Array.of(value).buffer)[0]!;
    return value === 0 ? 0 : ((word >>> 16) & 0x8000) | ((((word >>> 23) & 255) - 112) << 10) | ((word >>> 13) & 1023);
  });
  return new Uint8Array(bits.buffer);
}

function halfValue(bits: number): number {
  const exponent = (bits >> 10) & 31;
  if (exponent === 31) return Number.NaN;
  const size = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}
