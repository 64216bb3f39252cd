import type { SubgroupAttention } from '../../device/open-device.ts';
import { memoised } from '../../program/memoised.ts';
import type { Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import {
  type AttentionShader,
  type AttentionSpec,
  attentionLabel,
  attentionProgram,
  attentionUniforms,
} from './attention.wgsl.ts';
import { times } from './attention-rows.wgsl.ts';

const subgroups = 4; // of a workgroup; each owns M queries
const keys = 16; // that pass at a time

/** Whether attention of this width can be made of such matrices, within the 16 KiB and 256 invocations that every adapter has. */
export function fitsSubgroups({ M, N, K, subgroupSize }: SubgroupAttention, D: number): boolean {
  const lanes = subgroupSize / M; // that share a row of scores
  const whole = [keys / N, keys / K, D / N, D / K, D / 4, lanes, keys / lanes, N / lanes];
  const bytes = 2 * 2 * keys * D + subgroups * M * keys * (4 + 2);
  return whole.every(Number.isInteger) && M <= keys && subgroups * subgroupSize <= 256 && bytes <= 16384;
}

/**
 * Attention forward in half precision by subgroup matrices: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]].
 *
 * Matrices of sums cannot be scaled row by row, so the keys pass twice: first for each row's largest score m, then for
 * O = sum exp(s - m) V and the sum of the weights. Scores go through workgroup memory as float32, weights as float16, where lanes see rows;
 * what lies past the keys has a weight of zero, and past the queries is some row that is not stored.
 */
export const subgroupForward = (spec: AttentionSpec, matrix: SubgroupAttention): Program =>
  attentionProgram(
    forwardShader({
      D: spec.D,
      bias: spec.bias,
      matrixM: matrix.M,
      matrixN: matrix.N,
      matrixK: matrix.K,
      subgroupSize: matrix.subgroupSize,
    }),
    spec,
    { rows: subgroups * matrix.M, of: spec.Nq, products: 2 },
  );

interface SubgroupText extends Pick<AttentionSpec, 'D' | 'bias'>, Pick<SubgroupAttention, 'subgroupSize'> {
  readonly matrixM: number;
  readonly matrixN: number;
  readonly matrixK: number;
}

const forwardShader = memoised(
  ({ D, bias, matrixM: M, matrixN: N, matrixK: K, subgroupSize }: SubgroupText): AttentionShader => {
    const threads = subgroups * subgroupSize;
    const lanes = subgroupSize / M;
    // matrices are named by their columns, then their rows
    const [left, right, result] = [`left<f16, ${K}, ${M}>`, `right<f16, ${N}, ${K}>`, `result<f32, ${N}, ${M}>`];
    const bring = (tile: string, { from, rows, source }: { from: string; rows: number; source: string }) =>
      `for (var n = thread; n < ${(rows * D) / 4}u; n += ${threads}u) {
      let at = n / ${D / 4}u; let four = ${from}[(${source}) * ${D / 4}u + n % ${D / 4}u];
      ${times(4, (e) => `tile${tile}[4u * n + ${e}u] = four[${e}];`)}
    }`;
    const passing = (tensor: 'K' | 'V') =>
      bring(tensor, { from: tensor, rows: keys, source: 'g * p.Nk + min(first + at, p.Nk - 1u)' });
    const scores = times(
      keys / N,
      (j) => `var s${j} = subgroup_matrix_${result}();
    ${times(D / K, (e) => `s${j} = subgroupMatrixMultiplyAccumulate(q${e}, subgroupMatrixLoad<subgroup_matrix_${right}, col_major>(&tileK, ${j * N * D + e * K}u, ${D}u), s${j});`, '\n    ')}
    subgroupMatrixStore<row_major>(&scores, own + ${j * N}u, s${j}, ${keys}u);`,
      '\n    ',
    );
    const each = (body: string) => `for (var k = part; k < ${keys}u; k += ${lanes}u) { ${body} }`;
    const score = `score(i, first + k, scores[own + row * ${keys}u + k])`;
    // what each lane that shares a row has of it
    const together = (name: string, add: (a: string, b: string) => string) => `workgroupBarrier();
  scores[own + lane] = ${name};
  workgroupBarrier();
  ${times(lanes, (n) => `let ${name}${n} = scores[own + row * ${lanes}u + ${n}u];`)}
  ${name} = ${Array.from({ length: lanes }, (_, n) => `${name}${n}`).reduce(add)};`;
    return shader({
      label: `${attentionLabel('attention', { D, bias })} by subgroups ${M} x ${N} x ${K}`,
      inputs: { Q: 'vec4<f16>', K: 'vec4<f16>', V: 'vec4<f16>', ...(bias && { H: 'f32', W: 'f32' }) },
      outputs: { O: 'f16', L: 'f32' },
      uniforms: attentionUniforms,
      enable: ['subgroups', 'chromium_experimental_subgroup_matrix'],
      body: `var<workgroup> tileK: array<f16, ${keys * D}>; // [key][d]
var<workgroup> tileV: array<f16, ${keys * D}>;
var<workgroup> scores: array<f32, ${subgroups * M * keys}>; // [row][key] of each subgroup
var<workgroup> weights: array<f16, ${subgroups * M * keys}>;
fn score(i: u32, n: u32, product: f32) -> f32 {
  ${bias ? 'let k = min(n, p.Nk - 1u);' : ''}
  return select(-1e30, p.scale * product${bias ? ' + H[i * p.kh + k / p.kw] + W[i * p.kw + k % p.kw]' : ''}, n < p.Nk);
}
@compute @workgroup_size(${threads}) @diagnostic(off, chromium.subgroup_matrix_uniformity)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let g = p.firstG + group.y + group.z * p.gridY;
  if (g >= p.G) { return; }
  let subgroup = thread / ${subgroupSize}u; let lane = thread % ${subgroupSize}u;
  let row = lane / ${lanes}u; let part = lane % ${lanes}u;
  let own = subgroup * ${M * keys}u;
  let query0 = group.x * ${subgroups * M}u; let query = query0 + subgroup * ${M}u + row;
  let i = g * p.Nq + min(query, p.Nq - 1u);
  ${times(D / K, (e) => `var q${e}: subgroup_matrix_${left};`)}
  for (var s = 0u; s < ${subgroups}u; s++) {
    workgroupBarrier();
    ${bring('K', { from: 'Q', rows: M, source: `g * p.Nq + min(query0 + s * ${M}u + at, p.Nq - 1u)` })}
    workgroupBarrier();
    if (s == subgroup) {
      ${times(D / K, (e) => `q${e} = subgroupMatrixLoad<subgroup_matrix_${left}, row_major>(&tileK, ${e * K}u, ${D}u);`)}
    }
  }
  var most = -1e30;
  for (var first = 0u; first < p.Nk; first += ${keys}u) {
    workgroupBarrier();
    ${passing('K')}
    workgroupBarrier();
    ${scores}
    workgroupBarrier();
    ${each(`most = max(most, ${score});`)}
  }
  ${together('most', (a, b) => `max(${a}, ${b})`)}
  ${times(D / N, (e) => `var o${e} = subgroup_matrix_${result}();`)}
  var total = 0.0;
  for (var first = 0u; first < p.Nk; first += ${keys}u) {
    workgroupBarrier();
    ${passing('K')}
    ${passing('V')}
    workgroupBarrier();
    ${scores}
    workgroupBarrier();
    ${each(`let weight = f16(exp(${score} - most)); weights[own + row * ${keys}u + k] = weight; total += f32(weight);`)}
    workgroupBarrier();
    ${times(
      keys / K,
      (j) => `let w${j} = subgroupMatrixLoad<subgroup_matrix_${left}, row_major>(&weights, own + ${j * K}u, ${keys}u);
    ${times(D / N, (e) => `o${e} = subgroupMatrixMultiplyAccumulate(w${j}, subgroupMatrixLoad<subgroup_matrix_${right}, row_major>(&tileV, ${j * K * D + e * N}u, ${D}u), o${e});`, '\n    ')}`,
      '\n    ',
    )}
  }
  ${together('total', (a, b) => `${a} + ${b}`)}
  if (part == 0u && query < p.Nq) { L[i] = most + log(total); }
  ${times(
    D / N,
    (e) => `workgroupBarrier();
  subgroupMatrixStore<row_major>(&scores, own, o${e}, ${N}u);
  workgroupBarrier();
  if (query < p.Nq) {
    for (var n = part; n < ${N}u; n += ${lanes}u) { O[i * ${D}u + ${e * N}u + n] = f16(scores[own + row * ${N}u + n] / total); }
  }`,
    '\n  ',
  )}
}`,
    });
  },
);
