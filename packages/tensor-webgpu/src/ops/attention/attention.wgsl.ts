import { memoised } from '../../program/memoised.ts';
import { inPieces } from '../../program/pieces.ts';
import type { Program } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import { floatType, type UniformType } from '../../program/types.wgsl.ts';

/** Sizes of G independent attentions of Nq queries over Nk = kh x kw keys (without bias: Nk x 1). */
export interface AttentionSpec {
  readonly G: number;
  readonly Nq: number;
  readonly Nk: number;
  readonly D: number;
  readonly kh: number;
  readonly kw: number;
  readonly scale: number;
  readonly bias: boolean;
  /** Forward: query, key and value are in half precision. */
  readonly half: boolean;
}

type AttentionUniforms = 'G' | 'Nq' | 'Nk' | 'kh' | 'kw' | 'gridY' | 'rows' | 'scale' | 'firstG';

/** The uniforms that `attentionProgram` fills. */
export const attentionUniforms: Readonly<Record<AttentionUniforms, UniformType>> = {
  G: 'u32',
  Nq: 'u32',
  Nk: 'u32',
  kh: 'u32',
  kw: 'u32',
  gridY: 'u32',
  rows: 'u32',
  scale: 'f32',
  firstG: 'u32',
};

export type AttentionShader = Shader<AttentionUniforms>;

/** Names a shader of attention. */
export const attentionLabel = (label: string, { D, bias }: Pick<AttentionSpec, 'D' | 'bias'>): string =>
  `${label} D=${D}${bias ? ' bias' : ''}`;

/** A program whose workgroups take `rows` of `of` rows of each attention; z folds what y cannot hold. Each query and key have `products` products of D values. */
export function attentionProgram(
  shader: AttentionShader,
  { G, Nq, Nk, kh, kw, D, scale }: AttentionSpec,
  { rows, of, products }: { rows: number; of: number; products: number },
): Program {
  const flops = 2 * products * G * Nq * Nk * D;
  const pieces = inPieces({ count: G, flops }, (firstG, count) => {
    const gridY = Math.min(count, 32768);
    const uniforms = { G, Nq, Nk, kh, kw, gridY, rows, scale, firstG };
    return { workgroups: [Math.ceil(of / rows), gridY, Math.ceil(count / gridY)], uniforms };
  });
  return { shader, ...pieces };
}

const threads = 64;

/** Before the gradients: [output, output's gradient, log-sum-exp] -> [G, Nq, 2], the log-sum-exp and gradient . output. */
export const attentionStatistics = (spec: AttentionSpec): Program =>
  attentionProgram(statisticsShader({ D: spec.D }), spec, { rows: threads, of: spec.Nq, products: 0 });

const statisticsShader = memoised(({ D }: { D: number }): AttentionShader => {
  const vector = D % 4 === 0;
  const units = vector ? D / 4 : D;
  const type = floatType(false, vector);
  const step = units % 4 === 0 ? 4 : 1;
  const products = Array.from({ length: step }, (_, k) => {
    const [x, y] = [`O[first + e + ${k}u]`, `dO[first + e + ${k}u]`];
    return vector ? `dot(${x}, ${y})` : `${x} * ${y}`;
  });
  return shader({
    label: attentionLabel('attention statistics', { D, bias: false }),
    inputs: { O: type, dO: type, L: 'f32' },
    outputs: { statistics: 'vec2f' },
    uniforms: attentionUniforms,
    body: `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let g = p.firstG + group.y + group.z * p.gridY;
  let row = group.x * p.rows + thread;
  if (g >= p.G || row >= p.Nq) { return; }
  let i = g * p.Nq + row;
  let first = i * ${units}u;
  let end = ${units}u * min(p.G, 1u); // known at run time only: unrolled by the compiler, 64 values took 2 s to compile on lavapipe
  var sum = 0.0;
  for (var e = 0u; e < end; e += ${step}u) { sum += ${products.join(' + ')}; }
  statistics[i] = vec2f(L[i], sum);
}`,
  });
});
