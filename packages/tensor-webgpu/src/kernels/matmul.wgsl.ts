import { enableHalf, floatType } from '../half.wgsl.ts';
import type { Program } from '../program.ts';
import { linearDispatch } from './dispatch.ts';

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
  /** WGSL that defines `fn epilogue(v: vec4f) -> vec4f`, for sums with their bias before they are stored. */
  readonly epilogue?: string | undefined;
  /** How many workgroups share the sum over K; with more than one, C is [parts, b, M, N] and still to be added. */
  readonly parts: number;
  /** Which are in half precision; sums are float32. C only in `tileMatmul`, with one part: panels pass their sums through it. */
  readonly half: { readonly A: boolean; readonly B: boolean; readonly C: boolean };
}

const partUnit = 128; // parts of K are multiples of it, and so of every K block

/** How many parts of K keep the cores busy when C has only few tiles; below 2048 the second pass costs more (measured on lavapipe). */
export function partsOfK({ M, N, K, batch }: Pick<MatmulSpec, 'M' | 'N' | 'K' | 'batch'>): number {
  const tiles = Math.ceil(M / tile) * Math.ceil(N / tile) * batch;
  if (tiles >= 4 || K < 2048) return 1;
  const units = Math.ceil(K / partUnit);
  const each = Math.ceil(units / Math.min(Math.ceil(8 / tiles), Math.floor(K / 512)));
  return Math.ceil(units / each); // none is empty
}

interface Grid {
  readonly gridX: number;
  readonly gridY: number;
  /** Rows of C a workgroup. */
  readonly rows: number;
  /** How much of K is taken at a time. */
  readonly kBlock: number;
}

const sizes = `struct Sizes { M: u32, N: u32, K: u32, rows: u32, strideA: u32, strideB: u32, strideC: u32, kBlock: u32,
  gridX: u32, gridY: u32, batch: u32, partK: u32, groups: u32, row: u32, unused0: u32, unused1: u32 };`;

/** WGSL: which tile of C and which part of K is this workgroup's; the grid is one line, folded where it gets long. */
const place = `let index = group.x + group.y * p.row;
  if (index >= p.groups) { return; }
  let tileX = index % p.gridX; let tileY = (index / p.gridX) % p.gridY;
  let slice = index / (p.gridX * p.gridY); let b = slice % p.batch;
  let baseA = b * p.strideA; let baseB = b * p.strideB; let baseC = slice * p.strideC;
  let startK = (slice / p.batch) * p.partK; let endK = min(startK + p.partK, p.K);`;

function launch(
  spec: MatmulSpec,
  { gridX, gridY, rows, kBlock }: Grid,
): Pick<Program, 'workgroups' | 'uniforms' | 'flops' | 'half'> {
  const { M, N, K, batch, parts } = spec;
  const groups = gridX * gridY * batch * parts;
  const { workgroups, row } = linearDispatch(groups, 1);
  const partK = Math.ceil(K / partUnit / parts) * partUnit;
  const strides = [spec.broadcastA ? 0 : M * K, spec.broadcastB ? 0 : K * N, M * N];
  return {
    workgroups,
    uniforms: new Uint32Array([M, N, K, rows, ...strides, kBlock, gridX, gridY, batch, partK, groups, row, 0, 0]),
    flops: 2 * batch * M * N * K,
    half: [spec.half.A, spec.half.B, ...(spec.bias ? [false] : []), spec.half.C],
  };
}

const lanes = 8;
const vectors = 2; // vec4 columns a lane: 64 columns a subgroup
const panelColumns = lanes * vectors * 4;

/**
 * Packed-panel matmul for CPU adapters, as measured for lavapipe (60 GFLOP/s on two cores; a workgroup-memory tile: 5).
 *
 * A workgroup is one subgroup and has no barrier. A panel of B (`kBlock` rows, 64 columns) is packed into private memory once and
 * addressed by constants; the rows of A stream past it: one gather brings 8 (or, vectorised, 32) of its values and
 * `subgroupBroadcast` hands them out. Sums go through C once per K block. Stores are staged through private memory, since the
 * compiler otherwise sinks the arithmetic behind the store's branches and spills.
 */
export function panelMatmul(spec: MatmulSpec): Program {
  const { M, N, K, batch, transposeA, transposeB, bias, half, epilogue } = spec;
  const kBlock = K <= 32 ? 32 : K <= 64 ? 64 : 128;
  const vectorA = !transposeA && K % 4 === 0;
  const vectorB = transposeB ? K % 4 === 0 : N % 4 === 0;
  const gridX = Math.ceil(N / panelColumns);
  let gridY = 1;
  while (gridX * gridY * batch < 8 && M / (gridY * 2) >= 48) gridY *= 2;
  const rows = Math.ceil(M / gridY);
  const step = Math.min(kBlock, Math.ceil(K / 4) * 4);
  return {
    label: `matmul-panel${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''}`,
    wgsl: panelText({ kBlock, vectorA, vectorB, vectorC: N % 4 === 0, transposeA, transposeB, bias, half, epilogue }),
    ...launch(spec, { gridX, gridY: Math.ceil(M / rows), rows, kBlock: step }),
  };
}

interface PanelText {
  readonly kBlock: number;
  readonly vectorA: boolean;
  readonly vectorB: boolean;
  readonly vectorC: boolean;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly bias: boolean;
  readonly half: MatmulSpec['half'];
  readonly epilogue: MatmulSpec['epilogue'];
}

const times = (count: number, text: (i: number) => string, joint = '\n'): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);

function panelText(spec: PanelText): string {
  const { kBlock, vectorA, vectorB, vectorC, bias, half, epilogue } = spec;
  const whole = (j: number) => `total + ${vectorC ? `bias[column${j}]` : loadBias(j)}`;
  const perGather = vectorA ? lanes * 4 : lanes; // values of A that one gather brings
  const gathers = kBlock / perGather;
  const source = (k: number): string => {
    const gather = Math.floor(k / perGather);
    return vectorA
      ? `subgroupBroadcast(a${gather}[${k & 3}], ${Math.floor((k % perGather) / 4)}u)`
      : `subgroupBroadcast(a${gather}, ${k % perGather}u)`;
  };
  return `enable subgroups;
${enableHalf(half.A || half.B)}${sizes}
@group(0) @binding(0) var<storage, read> A: array<${floatType(half.A, vectorA)}>;
@group(0) @binding(1) var<storage, read> B: array<${floatType(half.B, vectorB)}>;
${bias ? `@group(0) @binding(2) var<storage, read> bias: array<${vectorC ? 'vec4f' : 'f32'}>;` : ''}
@group(0) @binding(${bias ? 3 : 2}) var<storage, read_write> C: array<${vectorC ? 'vec4f' : 'f32'}>;
@group(0) @binding(${bias ? 4 : 3}) var<uniform> p: Sizes;
var<private> panel: array<vec4f, ${kBlock * vectors + vectors}>;
${epilogue ?? ''}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  ${place}
  let lastColumn = (p.N + 3u) / 4u - 1u;
  let firstRow = tileY * p.rows; let endRow = min(firstRow + p.rows, p.M);
  let column = tileX * ${lanes * vectors}u + lane;
  ${times(vectors, (j) => `let own${j} = column + ${j * lanes}u; let column${j} = min(own${j}, lastColumn);`)}
  for (var k0 = startK; k0 < endK; k0 += p.kBlock) {
    ${packing(spec)}
    ${bias ? 'let last = k0 + p.kBlock >= endK;' : ''}
    for (var row = firstRow; row < endRow; row++) {
      ${times(gathers, (g) => gatherA(spec, g, perGather))}
      ${times(vectors, (j) => `let at${j} = ${vectorC ? `(baseC + row * p.N) / 4u + column${j}` : `baseC + row * p.N + column${j} * 4u`}; var sum${j} = vec4f();`)}
      if (k0 > startK) { ${times(vectors, (j) => `sum${j} = ${vectorC ? `C[at${j}]` : loadC(j)};`, ' ')} }
      ${times(kBlock, (k) => `let x${k} = vec4f(${source(k)}); ${times(vectors, (j) => `sum${j} = fma(x${k}, panel[${k * vectors + j}], sum${j});`, ' ')}`)}
      ${times(vectors, (j) => `panel[${kBlock * vectors + j}] = sum${j};`, ' ')}
      ${times(
        vectors,
        (j) => `{
        var total = panel[${kBlock * vectors + j}];
        ${bias ? `if (last) { total = ${epilogue ? `epilogue(${whole(j)})` : whole(j)}; }` : ''}
        if (own${j} <= lastColumn) { ${vectorC ? `C[at${j}] = total;` : storeC(j)} }
      }`,
      )}
    }
  }
}`;
}

/** Packs `kBlock` rows of B; the loop's bound is read at run time so that the compiler does not unroll it. */
function packing({ vectorB, transposeB }: PanelText): string {
  const column = (j: number, e: number) => `min(column${j} * 4u + ${e}u, p.N - 1u)`;
  if (!transposeB) {
    const value = (j: number) =>
      vectorB
        ? `vec4f(B[(baseB + k * p.N) / 4u + column${j}])`
        : `vec4f(${times(4, (e) => `f32(B[baseB + k * p.N + ${column(j, e)}])`, ', ')})`;
    return `for (var i = 0u; i < p.kBlock; i++) {
      let k = min(k0 + i, p.K - 1u); let keep = f32(k0 + i < p.K);
      ${times(vectors, (j) => `{ let b = ${value(j)}; panel[i * ${vectors}u + ${j}u] = select(vec4f(), b, keep > 0.0); }`)}
    }`;
  }
  if (!vectorB) {
    return `for (var i = 0u; i < p.kBlock; i++) {
      let k = min(k0 + i, p.K - 1u); let keep = k0 + i < p.K;
      ${times(vectors, (j) => `panel[i * ${vectors}u + ${j}u] = select(vec4f(), vec4f(${times(4, (e) => `f32(B[baseB + ${column(j, e)} * p.K + k])`, ', ')}), keep);`)}
    }`;
  }
  return `for (var i = 0u; i < p.kBlock / 4u; i++) {
      let k = min(k0 / 4u + i, p.K / 4u - 1u); let keep = k0 + i * 4u < p.K;
      ${times(
        vectors,
        (j) => `{
        ${times(4, (e) => `let b${e} = select(vec4f(), vec4f(B[(baseB + ${column(j, e)} * p.K) / 4u + k]), keep);`, ' ')}
        ${times(4, (e) => `panel[(i * 4u + ${e}u) * ${vectors}u + ${j}u] = vec4f(b0[${e}], b1[${e}], b2[${e}], b3[${e}]);`, ' ')}
      }`,
      )}
    }`;
}

function gatherA({ vectorA, transposeA }: PanelText, gather: number, perGather: number): string {
  if (vectorA)
    return `let a${gather} = vec4f(A[(baseA + row * p.K) / 4u + min(k0 / 4u + ${(gather * perGather) / 4}u + lane, p.K / 4u - 1u)]);`;
  const k = `min(k0 + ${gather * perGather}u + lane, p.K - 1u)`;
  return `let a${gather} = f32(A[baseA + ${transposeA ? `${k} * p.M + row` : `row * p.K + ${k}`}]);`;
}

const loadC = (j: number) => `vec4f(${times(4, (e) => `C[min(at${j} + ${e}u, baseC + row * p.N + p.N - 1u)]`, ', ')})`;
const loadBias = (j: number) => `vec4f(${times(4, (e) => `bias[min(column${j} * 4u + ${e}u, p.N - 1u)]`, ', ')})`;
const storeC = (j: number) =>
  times(4, (e) => `if (column${j} * 4u + ${e}u < p.N) { C[at${j} + ${e}u] = total[${e}]; }`, ' ');

const tile = 64; // rows and columns of C a workgroup
const depth = 16; // of K at a time

/** Workgroup-memory matmul for GPUs: 64 x 64 tiles of C, 16 x 16 threads with 4 x 4 sums each. */
export function tileMatmul(spec: MatmulSpec): Program {
  const { M, N, transposeA, transposeB } = spec;
  return {
    label: `matmul-tile${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''}`,
    wgsl: tileText(spec),
    ...launch(spec, { gridX: Math.ceil(N / tile), gridY: Math.ceil(M / tile), rows: tile, kBlock: depth }),
  };
}

function tileText({ transposeA, transposeB, bias, half, epilogue }: MatmulSpec): string {
  const sum = (i: number) => `sum${i}`;
  return `${enableHalf(half.A || half.B || half.C)}${sizes}
@group(0) @binding(0) var<storage, read> A: array<${floatType(half.A, false)}>;
@group(0) @binding(1) var<storage, read> B: array<${floatType(half.B, false)}>;
${bias ? '@group(0) @binding(2) var<storage, read> bias: array<f32>;' : ''}
@group(0) @binding(${bias ? 3 : 2}) var<storage, read_write> C: array<${floatType(half.C, false)}>;
@group(0) @binding(${bias ? 4 : 3}) var<uniform> p: Sizes;
var<workgroup> tileA: array<f32, ${depth * (tile + 1)}>; // [k][row], padded against bank conflicts
var<workgroup> tileB: array<vec4f, ${(depth * tile) / 4}>; // [k][column / 4]
fn valueA(base: u32, row: u32, k: u32) -> f32 {
  if (row >= p.M || k >= p.K) { return 0.0; }
  return f32(A[base + ${transposeA ? 'k * p.M + row' : 'row * p.K + k'}]);
}
fn valueB(base: u32, k: u32, column: u32) -> f32 {
  if (column >= p.N || k >= p.K) { return 0.0; }
  return f32(B[base + ${transposeB ? 'column * p.K + k' : 'k * p.N + column'}]);
}
${epilogue ?? ''}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) thread: u32) {
  ${place}
  let row0 = tileY * p.rows; let column0 = tileX * ${tile}u;
  ${times(4, (i) => `var ${sum(i)} = vec4f();`, ' ')}
  for (var k0 = startK; k0 < endK; k0 += p.kBlock) {
    for (var i = thread; i < ${depth * tile}u; i += 256u) {
      ${transposeA ? `let k = i / ${tile}u; let row = i % ${tile}u;` : `let row = i / ${depth}u; let k = i % ${depth}u;`}
      tileA[k * ${tile + 1}u + row] = valueA(baseA, row0 + row, k0 + k);
    }
    for (var i = thread; i < ${(depth * tile) / 4}u; i += 256u) {
      let k = i / ${tile / 4}u; let column = column0 + (i % ${tile / 4}u) * 4u;
      tileB[i] = vec4f(${times(4, (e) => `valueB(baseB, k0 + k, column + ${e}u)`, ', ')});
    }
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      let b = tileB[k * ${tile / 4}u + local.x];
      let a = k * ${tile + 1}u + local.y * 4u;
      ${times(4, (i) => `${sum(i)} = fma(vec4f(tileA[a + ${i}u]), b, ${sum(i)});`, ' ')}
    }
    workgroupBarrier();
  }
  let column = column0 + local.x * 4u;
  ${bias ? `let own = vec4f(${times(4, (e) => `bias[min(column + ${e}u, p.N - 1u)]`, ', ')});` : ''}
  ${times(4, (i) => {
    const whole = bias ? `${sum(i)} + own` : sum(i);
    const store = `let total = ${epilogue ? `epilogue(${whole})` : whole}; ${times(
      4,
      (e) => `if (column + ${e}u < p.N) { C[at + ${e}u] = ${floatType(half.C, false)}(total[${e}]); }`,
      ' ',
    )}`;
    return `{ let row = row0 + local.y * 4u + ${i}u; let at = baseC + row * p.N + column; if (row < p.M) { ${store} } }`;
  })}
}`;
}
