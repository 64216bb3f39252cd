import type { Program } from '../program.ts';

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

/** A program whose workgroups take `rows` of `of` rows of each attention; z folds what y cannot hold. Each query and key have `products` products of D values. */
export function attentionProgram(
  label: string,
  spec: AttentionSpec,
  { rows, of, products }: { rows: number; of: number; products: number },
  wgsl: string,
): Program {
  const { G, Nq, Nk, kh, kw, D, bias, scale } = spec;
  const gridY = Math.min(G, 32768);
  const words = new Uint32Array([G, Nq, Nk, kh, kw, gridY, rows, 0]);
  new Float32Array(words.buffer)[7] = scale;
  return {
    label: `${label} D=${D}${bias ? ' bias' : ''}`,
    wgsl,
    workgroups: [Math.ceil(of / rows), gridY, Math.ceil(G / gridY)],
    uniforms: words,
    flops: 2 * products * G * Nq * Nk * D,
  };
}

const threads = 64;

/** Before the gradients: [output, output's gradient, log-sum-exp] -> [G, Nq, 2], the log-sum-exp and gradient . output. */
export function attentionStatistics(spec: AttentionSpec): Program {
  const vector = spec.D % 4 === 0;
  const units = vector ? spec.D / 4 : spec.D;
  const type = vector ? 'vec4f' : 'f32';
  const wgsl = `struct Sizes { G: u32, Nq: u32, Nk: u32, kh: u32, kw: u32, gridY: u32, rows: u32, scale: f32 };
@group(0) @binding(0) var<storage, read> O: array<${type}>;
@group(0) @binding(1) var<storage, read> dO: array<${type}>;
@group(0) @binding(2) var<storage, read> L: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<vec2f>;
@group(0) @binding(4) var<uniform> p: Sizes;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let g = group.y + group.z * p.gridY; let row = group.x * p.rows + thread;
  if (g >= p.G || row >= p.Nq) { return; }
  let i = g * p.Nq + row;
  var sum = 0.0;
  for (var e = 0u; e < ${units}u; e++) { let x = O[i * ${units}u + e]; let y = dO[i * ${units}u + e]; sum += ${vector ? 'dot(x, y)' : 'x * y'}; }
  statistics[i] = vec2f(L[i], sum);
}`;
  return attentionProgram(
    'attention statistics',
    { ...spec, bias: false },
    { rows: threads, of: spec.Nq, products: 0 },
    wgsl,
  );
}
