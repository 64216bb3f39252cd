import { linearDispatch } from '../../program/grid.ts';
import type { Program } from '../../program/program.ts';
import type { UniformType } from '../../program/types.wgsl.ts';
import { activationTexts, type MatmulActivation } from './activations.wgsl.ts';

/** The sizes of C[b, M, N] = A[b, M, K] B[b, K, N] (+ bias[N]), and how A and B are stored. */
export interface MatmulSpec {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly batch: number;
  /** A is stored [b, K, M]. */
  readonly transposeA: boolean;
  /** B is stored [b, N, K]. */
  readonly transposeB: boolean;
  /** One A (or B) serves the whole batch. */
  readonly broadcastA: boolean;
  readonly broadcastB: boolean;
  readonly bias: boolean;
  /** Of whole sums with their bias; only with one. */
  readonly activation: MatmulActivation | undefined;
  /** How many workgroups share the sum over K; with more than one, C is [parts, b, M, N] and still to be added. */
  readonly parts: number;
  /** Which are in half precision; sums are float32. C only in `tileMatmul`, with one part: panels pass their sums through it. */
  readonly halfA: boolean;
  readonly halfB: boolean;
  readonly halfC: boolean;
}

const partTile = 64; // tiles of C are counted in squares of it
const partUnit = 128; // parts of K are multiples of it, and so of every K block

/** How many parts of K keep the cores busy when C has only few tiles; below 2048 the second pass costs more (measured on lavapipe). */
export function partsOfK({ M, N, K, batch }: Pick<MatmulSpec, 'M' | 'N' | 'K' | 'batch'>): number {
  const tiles = Math.ceil(M / partTile) * Math.ceil(N / partTile) * batch;
  if (tiles >= 4 || K < 2048) return 1;
  const units = Math.ceil(K / partUnit);
  const each = Math.ceil(units / Math.min(Math.ceil(8 / tiles), Math.floor(K / 512)));
  return Math.ceil(units / each); // none is empty
}

export interface Grid {
  readonly gridX: number;
  readonly gridY: number;
  /** Rows of C a workgroup. */
  readonly rows: number;
  /** How much of K is taken at a time. */
  readonly kBlock: number;
}

type MatmulUniforms =
  | 'M'
  | 'N'
  | 'K'
  | 'rows'
  | 'strideA'
  | 'strideB'
  | 'strideC'
  | 'kBlock'
  | 'gridX'
  | 'gridY'
  | 'batch'
  | 'partK'
  | 'groups'
  | 'row';

/** The uniforms that `launch` fills. */
export const matmulUniforms: Readonly<Record<MatmulUniforms, UniformType>> = {
  M: 'u32',
  N: 'u32',
  K: 'u32',
  rows: 'u32',
  strideA: 'u32',
  strideB: 'u32',
  strideC: 'u32',
  kBlock: 'u32',
  gridX: 'u32',
  gridY: 'u32',
  batch: 'u32',
  partK: 'u32',
  groups: 'u32',
  row: 'u32',
};

/** WGSL: which tile of C and which part of K is this workgroup's; the grid is one line, folded where it gets long. */
export const place = `let index = group.x + group.y * p.row;
  if (index >= p.groups) { return; }
  let tileX = index % p.gridX; let tileY = (index / p.gridX) % p.gridY;
  let slice = index / (p.gridX * p.gridY); let b = slice % p.batch;
  let baseA = b * p.strideA; let baseB = b * p.strideB; let baseC = slice * p.strideC;
  let startK = (slice / p.batch) * p.partK; let endK = min(startK + p.partK, p.K);`;

/** How a shader for `spec` is dispatched over a grid, and what its uniforms are. */
export function launch(
  spec: MatmulSpec,
  { gridX, gridY, rows, kBlock }: Grid,
): Omit<Program<MatmulUniforms>, 'shader'> {
  const { M, N, K, batch, parts } = spec;
  const groups = gridX * gridY * batch * parts;
  const { workgroups, row } = linearDispatch(groups, 1);
  const partK = Math.ceil(K / partUnit / parts) * partUnit;
  const strides = { strideA: spec.broadcastA ? 0 : M * K, strideB: spec.broadcastB ? 0 : K * N, strideC: M * N };
  return {
    workgroups,
    uniforms: { M, N, K, rows, ...strides, kBlock, gridX, gridY, batch, partK, groups, row },
    flops: 2 * batch * M * N * K,
  };
}

/**
 * WGSL: `finished(sum, column)` is what is stored of the whole sums of four columns from `column` on. Bindings are `vec4f` where they
 * are wide; reads past the end of the others give some value, which is not stored.
 */
export function epilogue({
  bias,
  activation,
  wide,
}: Pick<MatmulSpec, 'bias' | 'activation'> & { wide: boolean }): string {
  const four = wide
    ? 'bias[column / 4u]'
    : 'vec4f(bias[column], bias[column + 1u], bias[column + 2u], bias[column + 3u])';
  const whole = bias ? `sum + ${four}` : 'sum';
  return `${activation ? activationTexts[activation] : ''}
fn finished(sum: vec4f, column: u32) -> vec4f { return ${activation ? `activation(${whole})` : whole}; }`;
}

export const times = (count: number, text: (i: number) => string, joint = '\n'): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);
