/** A ViT's forward in float64 with plain loops, under the checkpoints' own names: independent of the package. */
import type { RawTensor } from '@slimsam/weights';

type Matrix = number[][];
type Tensors = Readonly<Record<string, RawTensor>>;

/** How a family is computed. */
export interface Family {
  heads: number;
  patch: number;
  /** Rows and columns of positions in the checkpoint. */
  grid: [number, number];
  epsilon: number;
  activation: 'gelu' | 'quick-gelu' | 'swiglu';
  antialias: boolean;
  /** Leaves out the class token and the registers. */
  patchesOnly?: boolean;
  names: Names;
}

/** Names in the checkpoint, without '.weight' and '.bias' for layers. */
export interface Names {
  classToken: string;
  positions: string;
  patches: string;
  registers?: string;
  preNorm?: string;
  norm: string;
  block(i: number): {
    norm1: string;
    norm2: string;
    /** One fused layer, or q, k and v. */
    qkv: string | [string, string, string];
    projection: string;
    mlp: [string, string];
    scales?: [string, string];
  };
}

/** The tokens after the last norm, and the residual stream after every half of a block. */
export function referenceTokens(
  tensors: Tensors,
  family: Family,
  image: { values: ArrayLike<number>; height: number; width: number },
): { tokens: Matrix; streams: Record<string, Matrix> } {
  const { epsilon, heads } = family;
  const { block, preNorm, norm } = family.names;
  const streams: Record<string, Matrix> = {};
  let x = embed(tensors, family, image);
  if (preNorm) x = layerNorm(tensors, preNorm, x, epsilon);
  streams.patch_embed = x;
  for (let i = 0; ; i++) {
    const layer = block(i);
    if (!(`${layer.norm1}.weight` in tensors)) break;
    const [scale1, scale2] = (layer.scales ?? []).map((name) => vector(tensors, name));
    const normal = layerNorm(tensors, layer.norm1, x, epsilon);
    const attended = linear(tensors, layer.projection, attention(queriesKeysValues(tensors, layer.qkv, normal), heads));
    x = add(x, attended, scale1);
    streams[`blocks.${i}.attn`] = x;
    const first = linear(tensors, layer.mlp[0], layerNorm(tensors, layer.norm2, x, epsilon));
    const hidden = first.map((row) => activate(row, family.activation));
    streams[`blocks.${i}.mlp.hidden`] = hidden;
    x = add(x, linear(tensors, layer.mlp[1], hidden), scale2);
    streams[`blocks.${i}`] = x;
  }
  return { tokens: layerNorm(tensors, norm, x, epsilon), streams };
}

/** Rows of y = x W' + b. */
export function linear(tensors: Tensors, name: string, x: Matrix): Matrix {
  const weight = tensors[`${name}.weight`]!;
  const bias = tensors[`${name}.bias`]?.data;
  const [O, I] = weight.shape as [number, number];
  return x.map((row) =>
    Array.from({ length: O }, (_, o) => {
      let sum = bias?.[o] ?? 0;
      for (let i = 0; i < I; i++) sum += weight.data[o * I + i]! * row[i]!;
      return sum;
    }),
  );
}

function embed(
  tensors: Tensors,
  { patch: p, grid, antialias, names, patchesOnly }: Family,
  { values, height, width }: { values: ArrayLike<number>; height: number; width: number },
): Matrix {
  const kernel = tensors[`${names.patches}.weight`]!;
  const bias = tensors[`${names.patches}.bias`]?.data;
  const C = kernel.shape[0]!;
  const [h, w] = [height / p, width / p];
  const table = vector(tensors, names.positions);
  const own = table.length / C - grid[0] * grid[1]; // rows before the grid's
  const positions = resizeBicubic(table.slice(own * C), { from: grid, to: [h, w], channels: C, antialias });
  const tokens: Matrix = [];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      tokens.push(
        Array.from({ length: C }, (_, c) => {
          let sum = bias?.[c] ?? 0;
          for (let channel = 0; channel < 3; channel++)
            for (let dy = 0; dy < p; dy++)
              for (let dx = 0; dx < p; dx++)
                sum +=
                  kernel.data[((c * 3 + channel) * p + dy) * p + dx]! *
                  values[(channel * height + y * p + dy) * width + x * p + dx]!;
          return sum + positions[(y * w + x) * C + c]!;
        }),
      );
    }
  }
  if (patchesOnly) return tokens;
  const classToken = vector(tensors, names.classToken).map((value, c) => value + (own === 1 ? table[c]! : 0));
  const registers = names.registers ? vector(tensors, names.registers) : [];
  const rows = Array.from({ length: registers.length / C }, (_, r) => registers.slice(r * C, (r + 1) * C));
  return [classToken, ...rows, ...tokens];
}

/** Every output as a sum over 4 x 4 neighbours (more when an antialiased filter shrinks), straight from PyTorch's definition. */
export function resizeBicubic(
  values: readonly number[],
  options: {
    from: readonly [number, number];
    to: readonly [number, number];
    channels: number;
    antialias: boolean;
  },
): number[] {
  const { from, to, channels: C, antialias } = options;
  if (from.join() === to.join()) return [...values];
  const along = (axis: 0 | 1) =>
    Array.from({ length: to[axis] }, (_, i) =>
      antialias ? antialiased(i, from[axis], to[axis]) : neighbours(i, from[axis], to[axis]),
    );
  const [rows, columns] = [along(0), along(1)];
  const result: number[] = [];
  for (const row of rows)
    for (const column of columns)
      for (let c = 0; c < C; c++) {
        let sum = 0;
        for (const [y, wy] of row) for (const [x, wx] of column) sum += wy * wx * values[(y * from[1] + x) * C + c]!;
        result.push(sum);
      }
  return result;
}

/** upsample_bicubic2d: [index, weight] of the four neighbours of an output, edges repeated. */
function neighbours(i: number, from: number, to: number): [number, number][] {
  const a = -0.75;
  const real = (from / to) * (i + 0.5) - 0.5;
  const t = real - Math.floor(real);
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x: number) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return [far(t + 1), near(t), near(1 - t), far(2 - t)].map((weight, k) => [
    Math.min(from - 1, Math.max(0, Math.floor(real) - 1 + k)),
    weight,
  ]);
}

/** _upsample_bicubic2d_aa: the window [centre - support, centre + support), weights that sum to 1, a = -0.5. */
function antialiased(i: number, from: number, to: number): [number, number][] {
  const a = -0.5;
  const scale = from / to;
  const support = scale >= 1 ? 2 * scale : 2;
  const inverse = scale >= 1 ? 1 / scale : 1;
  const centre = scale * (i + 0.5);
  const start = Math.max(Math.trunc(centre - support + 0.5), 0);
  const end = Math.min(Math.trunc(centre + support + 0.5), from);
  const filter = (value: number) => {
    const x = Math.abs(value);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  };
  const window = Array.from({ length: end - start }, (_, k) => filter((k + start - centre + 0.5) * inverse));
  const total = window.reduce((sum, weight) => sum + weight, 0);
  return window.map((weight, k) => [start + k, weight / total]);
}

function queriesKeysValues(
  tensors: Tensors,
  qkv: string | [string, string, string],
  x: Matrix,
): [Matrix, Matrix, Matrix] {
  if (typeof qkv !== 'string') return qkv.map((name) => linear(tensors, name, x)) as [Matrix, Matrix, Matrix];
  const all = linear(tensors, qkv, x);
  const third = all[0]!.length / 3;
  return [0, 1, 2].map((part) => all.map((row) => row.slice(part * third, (part + 1) * third))) as [
    Matrix,
    Matrix,
    Matrix,
  ];
}

/** softmax(q k' / sqrt(D)) v, head by head. */
function attention([queries, keys, values]: [Matrix, Matrix, Matrix], heads: number): Matrix {
  const D = queries[0]!.length / heads;
  return queries.map((query) => {
    const out: number[] = [];
    for (let head = 0; head < heads; head++) {
      const at = head * D;
      const scores = keys.map((key) => {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += query[at + d]! * key[at + d]!;
        return dot / Math.sqrt(D);
      });
      const highest = Math.max(...scores);
      const exponentials = scores.map((score) => Math.exp(score - highest));
      const total = exponentials.reduce((sum, value) => sum + value, 0);
      for (let d = 0; d < D; d++)
        out.push(exponentials.reduce((sum, value, k) => sum + (value / total) * values[k]![at + d]!, 0));
    }
    return out;
  });
}

function layerNorm(tensors: Tensors, name: string, x: Matrix, epsilon: number): Matrix {
  const [scale, offset] = [vector(tensors, `${name}.weight`), vector(tensors, `${name}.bias`)];
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, c) => ((value - mean) / Math.sqrt(variance + epsilon)) * scale[c]! + offset[c]!);
  });
}

function activate(row: number[], activation: Family['activation']): number[] {
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  if (activation === 'gelu') return row.map((x) => 0.5 * x * (1 + erf(x / Math.SQRT2)));
  if (activation === 'quick-gelu') return row.map((x) => x * sigmoid(1.702 * x));
  const half = row.length / 2;
  return row.slice(0, half).map((x, i) => x * sigmoid(x) * row[half + i]!);
}

/** 2 / sqrt(pi) exp(-x²) sum_n 2^n x^(2n + 1) / (2n + 1)!!, all terms of one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

function add(x: Matrix, branch: Matrix, scale?: readonly number[]): Matrix {
  return x.map((row, i) => row.map((value, c) => value + (scale?.[c] ?? 1) * branch[i]![c]!));
}

function vector(tensors: Tensors, name: string): number[] {
  return Array.from(tensors[name]!.data);
}
