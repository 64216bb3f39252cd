import { tileMatmul } from '../../packages/tensor-webgpu/src/kernels/matmul/matmul-tile.wgsl.ts';
import { bestTile, partsForGpu } from '../../packages/tensor-webgpu/src/kernels/matmul/tile-choice.ts';
import { type AttentionKind, attentionShape } from '../../packages/tensor-webgpu/src/ops/attention/attention-choice.ts';
import {
  rowsForward,
  rowsKeyGradient,
  rowsQueryGradient,
} from '../../packages/tensor-webgpu/src/ops/attention/attention-gpu.wgsl.ts';
import { rowWriter } from '../../packages/tensor-webgpu/src/ops/attention/attention-rows.wgsl.ts';

/** A kernel at one size. */
export interface KernelCase {
  readonly kernel: string;
  readonly case: string;
  readonly wgsl: string;
  /** Where a share of the peak can be modelled: how often each loop runs, in the order of the text, and operations of an invocation. */
  readonly model?: { readonly trips: readonly number[]; readonly flops: number };
}

/** Whose kernels: they follow the vendor. */
export type Vendor = 'amd' | 'intel';

const factsOf = (vendor: Vendor) => ({
  ...{ vendor, isCpu: false, features: ['subgroups', 'shader-f16'], leastSubgroup: vendor === 'amd' ? 32 : 8 },
});
const programs = { forward: rowsForward, query: rowsQueryGradient, key: rowsKeyGradient };
const names = { forward: 'attention', query: 'attention query gradient', key: 'attention key gradient' };

/** `G` attentions of `N` rows over as many keys, which lie in rows of `side`; without positions where it is 0. */
function attentionCase(
  vendor: Vendor,
  kind: AttentionKind,
  { sizes: [G, N, D, side], half = false }: { sizes: readonly [number, number, number, number]; half?: boolean },
): KernelCase {
  const bias = side > 0;
  const [kh, kw] = bias ? [N / side, side] : [N, 1];
  const spec = { G, Nq: N, Nk: N, D, kh, kw, scale: D ** -0.5, bias, half };
  const shape = attentionShape(kind, factsOf(vendor), spec);
  const { lanes, rows, threads, tiles, step } = shape;
  const program = programs[kind](spec, { shape, joined: false });
  const { tile, units } = rowWriter({ D, bias, half, joined: false, shape });
  const passing = kind === 'query' && bias ? kh * Math.ceil(kw / 4) * 4 : N;
  const blocks = Math.ceil(passing / tile);
  const loops = tiles
    ? [blocks, Math.ceil((Math.min(tile, passing) * units) / threads), passing / blocks / step]
    : [passing / step];
  const sums = kind === 'query' && bias ? Array<number>(rows).fill(Math.ceil(kw / lanes)) : [];
  const [x, y, z] = program.workgroups;
  return {
    kernel: `${names[kind]}${half ? inHalves : ''}`,
    case: `${G} x ${N} x ${D}${bias ? '' : ', no positions'}`,
    wgsl: program.shader.wgsl,
    model: { trips: [...sums, ...loops, ...sums], flops: program.flops! / (x * y * z * threads * pieces(program)) },
  };
}

const pieces = ({ more = [] }: { more?: readonly object[] }): number => 1 + more.length;

type Transposed = '' | 'A^T' | 'B^T';

const inHalves = ' in half precision'; // whose share is of the float32 peak, which float16 may pass

function matmulCase(
  vendor: Vendor,
  [batch, M, K, N]: readonly [number, number, number, number],
  { how = '', half = false }: { how?: Transposed; half?: boolean } = {},
): KernelCase {
  const parts = half ? 1 : partsForGpu({ M, N, K, batch });
  const sizes = { M, N, K, batch, parts, halfC: half };
  const shape = bestTile(sizes, factsOf(vendor));
  const { rows, columns, threadRows, threadVectors, depth } = shape;
  const program = tileMatmul(
    {
      ...{ ...sizes, transposeA: how === 'A^T', transposeB: how === 'B^T', broadcastA: batch === 1 },
      ...{ broadcastB: batch === 1, bias: false, activation: undefined, residual: false },
      ...{ halfA: half, halfB: half },
    },
    shape,
  );
  const threads = (rows / threadRows) * (columns / (4 * threadVectors));
  const groups = Math.ceil(M / rows) * Math.ceil(N / columns) * batch * parts;
  const each = Math.min(K, Math.ceil(K / 128 / parts) * 128);
  return {
    kernel: `matmul${half ? inHalves : ''}`,
    case: `${batch > 1 ? `${batch} x ` : ''}${M}x${K}x${N}${how && ` ${how}`}`,
    wgsl: program.shader.wgsl,
    model: { trips: [Math.ceil(each / depth), depth / 4], flops: (2 * batch * M * N * K) / (groups * threads) },
  };
}

const kinds = ['forward', 'query', 'key'] as const;

/** Attention and matmul at the sizes of SAM-B and SAM-H. */
export const shortCases = (vendor: Vendor): readonly KernelCase[] => [
  ...(
    [
      [12, 4096, 64, 64],
      [16, 4096, 80, 64],
    ] as const
  ).flatMap((sizes) => kinds.map((kind) => attentionCase(vendor, kind, { sizes }))),
  matmulCase(vendor, [1, 4096, 768, 768]),
  matmulCase(vendor, [1, 4096, 768, 3072]),
  matmulCase(vendor, [1, 4096, 768, 3072], { how: 'B^T' }),
  matmulCase(vendor, [1, 768, 4096, 768], { how: 'A^T' }),
];

/** And in windows, at pruned widths, and of SAM-H's layers. */
export const moreCases = (vendor: Vendor): readonly KernelCase[] => [
  ...(
    [
      [300, 196, 64, 14],
      [400, 196, 80, 14],
      [12, 4096, 64, 0],
      [12, 4096, 48, 64],
      [12, 4096, 32, 64],
      [12, 4096, 14, 64],
      [300, 196, 48, 14],
      [300, 196, 32, 14],
      [300, 196, 14, 14],
    ] as const
  ).flatMap((sizes) => kinds.map((kind) => attentionCase(vendor, kind, { sizes }))),
  ...(['', 'B^T', 'A^T'] as const).flatMap((how) => [
    matmulCase(vendor, [1, 4096, 1280, 1280], { how }),
    matmulCase(vendor, [1, 4096, 1280, 5120], { how }),
    matmulCase(vendor, [1, 4096, 168, 168], { how }),
    matmulCase(vendor, [1, 512, 512, 512], { how }),
  ]),
  ...(
    [
      [12, 4096, 64, 64],
      [16, 4096, 80, 64],
      [300, 196, 64, 14],
      [12, 4096, 32, 64],
    ] as const
  ).map((sizes) => attentionCase(vendor, 'forward', { sizes, half: true })),
  ...(
    [
      [1, 4096, 768, 3072],
      [1, 4096, 1280, 1280],
      [1, 4096, 168, 168],
    ] as const
  ).map((sizes) => matmulCase(vendor, sizes, { how: 'B^T', half: true })),
  matmulCase(vendor, [300, 196, 64, 196], { how: 'B^T' }),
  matmulCase(vendor, [300, 196, 196, 64]),
];
