import type { SubgroupTile } from '../../device/open-device.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { launch, type MatmulSpec, place, times } from './matmul.wgsl.ts';
import { bindingsOf, type Mover, mover, type TileOperands, tileFunctions } from './matmul-tile.wgsl.ts';

/** Rows and columns of C that a workgroup makes. */
export const extentOf = (tile: SubgroupTile): { readonly rows: number; readonly columns: number } => ({
  rows: tile.M * tile.down * tile.subgroupsDown,
  columns: tile.N * tile.across * tile.subgroupsAcross,
});

/**
 * Matmul by subgroup matrices, an experimental extension of WGSL: a subgroup multiplies float16 matrices of fixed sizes and adds in float32,
 * by the units that GPUs have for it.
 *
 * A workgroup brings `depth` of K at a time into its memory, rounded to float16, A as [row][k] and B as [k][column]; each subgroup has
 * `down` x `across` matrices of C, which leave through workgroup memory one by one. Reads past a matrix are as in `tileMatmul`.
 */
export function subgroupMatmul(spec: MatmulSpec, tile: SubgroupTile): Program {
  const { M, N, K, transposeA, transposeB, bias, activation, residual, halfA, halfB, halfC } = spec;
  const made = subgroupShader({
    matrixM: tile.M,
    matrixN: tile.N,
    matrixK: tile.K,
    subgroupSize: tile.subgroupSize,
    down: tile.down,
    across: tile.across,
    subgroupsDown: tile.subgroupsDown,
    subgroupsAcross: tile.subgroupsAcross,
    depth: tile.depth,
    wideA: (transposeA ? M : K) % 4 === 0,
    wideB: (transposeB ? K : N) % 4 === 0,
    wideC: N % 4 === 0,
    transposeA,
    transposeB,
    bias,
    activation,
    residual,
    halfA,
    halfB,
    halfC,
    spread: spec.spread !== undefined,
  });
  const { rows, columns } = extentOf(tile);
  const grid = { gridX: Math.ceil(N / columns), gridY: Math.ceil(M / rows), rows, kBlock: tile.depth };
  return dispatching(made, launch(spec, grid));
}

/** Names a tile in labels and among `tune`'s candidates. */
export function subgroupName(tile: SubgroupTile): string {
  const { rows, columns } = extentOf(tile);
  return `subgroups ${rows} x ${columns} by ${tile.depth}, ${tile.M * tile.down} x ${tile.N * tile.across}`;
}

interface SubgroupText extends TileOperands, Omit<SubgroupTile, 'M' | 'N' | 'K'> {
  readonly matrixM: number;
  readonly matrixN: number;
  readonly matrixK: number;
}

const subgroupShader = memoised((text: SubgroupText) => {
  const { matrixM: M, matrixN: N, matrixK: K, transposeA, transposeB, ...tile } = text;
  return shader({
    label: `matmul-${subgroupName({ ...tile, M, N, K })}${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''}`,
    ...bindingsOf(text),
    enable: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
    body: subgroupBody(text),
  });
});

function subgroupBody(text: SubgroupText): string {
  const {
    matrixM: M,
    matrixN: N,
    matrixK: K,
    down,
    across,
    subgroupsDown,
    subgroupsAcross,
    subgroupSize,
    depth,
  } = text;
  const { rows, columns } = extentOf({ ...text, M, N, K });
  const subgroups = subgroupsDown * subgroupsAcross;
  const threads = subgroupSize * subgroups;
  const four = (at: string, tile: string, value: string) =>
    `{ let at = ${at}; let four = vec4<f16>(${value}); ${times(4, (e) => `${tile}[at + ${e}u] = four[${e}];`, ' ')} }`;
  const [A, B] = (['A', 'B'] as const).map((name) => {
    const at = (e: number) => (name === 'A' ? `(x + ${e}u) * ${depth}u + k` : `(k + ${e}u) * ${columns}u + x`);
    const store = (e: number, value: string) => four(at(e), `tile${name}`, value);
    return mover(name, { ...text, rows, columns }, { threads, store });
  }) as [Mover, Mover];
  // matrices are named by their columns, then their rows
  const [left, right, result] = [`left<f16, ${K}, ${M}>`, `right<f16, ${N}, ${K}>`, `result<f32, ${N}, ${M}>`];
  const each = (body: (i: number, j: number) => string, joint = ' ') =>
    times(down, (i) => times(across, (j) => body(i, j), joint));
  const steps = depth / K;
  const multiply = (s: number) => `
    ${times(down, (i) => `let a${s}_${i} = subgroupMatrixLoad<subgroup_matrix_${left}, row_major>(&tileA, (row + ${i * M}u) * ${depth}u + ${s * K}u, ${depth}u);`)}
    ${times(across, (j) => `let b${s}_${j} = subgroupMatrixLoad<subgroup_matrix_${right}, row_major>(&tileB, ${s * K * columns}u + column + ${j * N}u, ${columns}u);`)}
    ${each((i, j) => `sum${i}_${j} = subgroupMatrixMultiplyAccumulate(a${s}_${i}, b${s}_${j}, sum${i}_${j});`)}`;
  return `var<workgroup> tileA: array<f16, ${rows * depth}>; // [row][k]
var<workgroup> tileB: array<f16, ${depth * columns}>; // [k][column]
var<workgroup> tileC: array<f32, ${subgroups * M * N}>; // a matrix of each subgroup
${tileFunctions(text)}
@compute @workgroup_size(${threads}) @diagnostic(off, chromium.subgroup_matrix_uniformity)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  ${place(text.spread)}
  let row0 = tileY * p.rows; let column0 = tileX * ${columns}u;
  let subgroup = thread / ${subgroupSize}u; let lane = thread % ${subgroupSize}u;
  let row = (subgroup / ${subgroupsAcross}u) * ${M * down}u; let column = (subgroup % ${subgroupsAcross}u) * ${N * across}u;
  ${each((i, j) => `var sum${i}_${j}: subgroup_matrix_${result};`)}
  ${A.registers} ${B.registers}
  var next = startK;
  ${A.fetch}
  ${B.fetch}
  while (next < endK) {
    next += p.kBlock;
    workgroupBarrier();
    ${A.store}
    ${B.store}
    workgroupBarrier();
    if (next < endK) {
      ${A.fetch}
      ${B.fetch}
    }
    ${times(steps, multiply)}
  }
  let own = subgroup * ${M * N}u;
  ${each(
    (i, j) => `workgroupBarrier();
  subgroupMatrixStore<row_major>(&tileC, own, sum${i}_${j}, ${N}u);
  workgroupBarrier();
  for (var n = lane; n < ${(M * N) / 4}u; n += ${subgroupSize}u) {
    let at = own + 4u * n;
    let four = vec4f(tileC[at], tileC[at + 1u], tileC[at + 2u], tileC[at + 3u]);
    store(baseC, row0 + row + ${i * M}u + n / ${N / 4}u, column0 + column + ${j * N}u + 4u * (n % ${N / 4}u), four);
  }`,
    '\n  ',
  )}
}`;
}
