import { linearDispatch } from '../../program/grid.ts';
import { inPieces } from '../../program/pieces.ts';
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
  /** [b, M, N] that is added to the results, after the activation. */
  readonly residual: boolean;
  /** Where A, B and C lie when not one matrix after another: a batch of rows that are spread. Without a transposed A, in one part. */
  readonly spread?: Spread | undefined;
  /** How many workgroups share the sum over K; with more than one, C is [parts, b, M, N] and still to be added. */
  readonly parts: number;
  /**
   * Which are in half precision; sums are float32, but for those of `TileShape.halfSums`. C only with one part, and not in panels, which pass
   * their sums through it.
   */
  readonly halfA: boolean;
  readonly halfB: boolean;
  readonly halfC: boolean;
}

/** Strides in elements. Row i of A and of C lies at (i / inner) * outer + (i % inner) * step. */
export interface Spread {
  readonly inner: number;
  readonly outerA: number;
  readonly stepA: number;
  readonly batchA: number;
  readonly outerC: number;
  readonly stepC: number;
  readonly batchC: number;
  readonly offsetB: number;
  /** From one column of a transposed B (else from one k) to the next; it may be negative. */
  readonly stepB: number;
  readonly batchB: number;
}

const partTile = 64; // tiles of C are counted in squares of it
export const partUnit = 128; // parts of K are multiples of it, and so of every K block

/** How many parts of K keep a CPU's cores busy when C has only few tiles; below 2048 the second pass costs more (measured on lavapipe). */
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
  | 'row'
  | 'first';

/** The uniforms that `launch` fills. */
const matmulUniforms: Readonly<Record<MatmulUniforms, UniformType>> = {
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
  first: 'u32',
};

/** The uniforms of spread operands beside those. */
const spreadUniforms: Readonly<Record<SpreadUniforms, UniformType>> = {
  ...{ inner: 'u32', outerA: 'u32', stepA: 'u32', outerC: 'u32', stepC: 'u32', offsetB: 'u32', stepB: 'u32' },
};

type SpreadUniforms = 'inner' | 'outerA' | 'stepA' | 'outerC' | 'stepC' | 'offsetB' | 'stepB';

/** The uniforms of a matmul. */
export const uniformsOf = (isSpread: boolean): Readonly<Record<string, UniformType>> =>
  isSpread ? { ...matmulUniforms, ...spreadUniforms } : matmulUniforms;

/** WGSL of where rows of A and C, and columns or rows of B, begin. */
export interface Places {
  /** Module-scope functions. */
  readonly functions: string;
  readonly rowA: (row: string) => string;
  readonly rowC: (row: string) => string;
  /** What a transposed B's columns, or another one's k, are multiplied with. */
  readonly stepB: string;
}

/** Rows are divided as floats, which is exact below 2^22 and done by all lanes at once. */
export function placesOf({ spread, transposeB }: { spread: boolean; transposeB: boolean }): Places {
  if (!spread)
    return {
      functions: '',
      rowA: (row) => `${row} * p.K`,
      rowC: (row) => `${row} * p.N`,
      stepB: transposeB ? 'p.K' : 'p.N',
    };
  return {
    functions: `fn spread(row: u32, outer: u32, step: u32) -> u32 {
  let q = u32((f32(row) + 0.5) / f32(p.inner));
  return q * outer + (row - q * p.inner) * step;
}`,
    rowA: (row) => `spread(${row}, p.outerA, p.stepA)`,
    rowC: (row) => `spread(${row}, p.outerC, p.stepC)`,
    stepB: 'p.stepB',
  };
}

/** WGSL: which tile of C and which part of K is this workgroup's; the grid is one line, folded where it gets long. */
export const place = (spread: boolean): string => `let index = p.first + group.x + group.y * p.row;
  if (index >= p.groups) { return; }
  let tileX = index % p.gridX; let tileY = (index / p.gridX) % p.gridY;
  let slice = index / (p.gridX * p.gridY); let b = slice % p.batch;
  let baseA = b * p.strideA; let baseB = b * p.strideB${spread ? ' + p.offsetB' : ''}; let baseC = slice * p.strideC;
  let startK = (slice / p.batch) * p.partK; let endK = min(startK + p.partK, p.K);`;

/** How a shader for `spec` is dispatched over a grid, and what its uniforms are. */
export function launch(spec: MatmulSpec, { gridX, gridY, rows, kBlock }: Grid): Omit<Program, 'shader'> {
  const { M, N, K, batch, parts } = spec;
  const groups = gridX * gridY * batch * parts;
  const partK = Math.ceil(K / partUnit / parts) * partUnit;
  const { spread } = spec;
  const strideA = spread?.batchA ?? (spec.broadcastA ? 0 : M * K);
  const strideB = spread?.batchB ?? (spec.broadcastB ? 0 : K * N);
  const strideC = spread?.batchC ?? M * N;
  const flops = 2 * batch * M * N * K;
  return inPieces({ count: groups, flops }, (first, count) => {
    const { workgroups, row } = linearDispatch(count, 1);
    const end = first + count;
    const sizes = {
      M,
      N,
      K,
      rows,
      strideA,
      strideB,
      strideC,
      kBlock,
      gridX,
      gridY,
      batch,
      partK,
      groups: end,
      row,
      first,
    };
    if (!spread) return { workgroups, uniforms: sizes };
    const { inner, outerA, stepA, outerC, stepC, offsetB, stepB } = spread;
    return { workgroups, uniforms: { ...sizes, inner, outerA, stepA, outerC, stepC, offsetB, stepB } };
  });
}

/**
 * WGSL: `finished(sum, column, at)` is what is stored at `at` of the whole sums of four columns from `column` on. Bindings are `vec4f` where they
 * are wide; reads past the end of the others give some value, which is not stored.
 */
export function epilogue({
  bias,
  activation,
  residual,
  wide,
}: Pick<MatmulSpec, 'bias' | 'activation' | 'residual'> & { wide: boolean }): string {
  const fourOf = (name: string, at: string) =>
    wide ? `${name}[${at} / 4u]` : `vec4f(${[0, 1, 2, 3].map((e) => `${name}[${at} + ${e}u]`).join(', ')})`;
  const four = fourOf('bias', 'column');
  const whole = bias ? `sum + ${four}` : 'sum';
  return `${activation ? activationTexts[activation] : ''}
fn finished(sum: vec4f, column: u32, at: u32) -> vec4f { return ${activation ? `activation(${whole})` : whole}${residual ? ` + ${fourOf('residual', 'at')}` : ''}; }`;
}

export const times = (count: number, text: (i: number) => string, joint = '\n'): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);
