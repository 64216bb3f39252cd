import type { Jax, JaxArray } from '../../packages/tensor-webgpu/bench/cases/case.ts';

/** Sizes of a block of SAM's encoder on an image's side x side tokens, with attention in windows of size x size. */
interface Sizes {
  readonly side: number;
  readonly size: number;
  readonly heads: number;
  readonly headWidth: number;
}

/** The block in jax-js, x [1, side, side, C] -> the same; `weight` gives a reference by the short checkpoint name. */
export function jaxBlock(
  { numpy, nn }: Jax,
  x: JaxArray,
  { side, size, heads, headWidth: D }: Sizes,
  weight: (name: string) => JaxArray,
): JaxArray {
  const count = Math.ceil(side / size); // windows along each axis
  const missing = count * size - side;
  const windows = count * count;
  const N = size * size;
  const linear = (name: string, rows: JaxArray) =>
    numpy.matmul(rows, numpy.matrixTranspose(weight(`${name}.weight`))).add(weight(`${name}.bias`));
  const norm = (name: string, rows: JaxArray) => {
    const centred = rows.ref.sub(numpy.mean(rows, -1, { keepdims: true }));
    const variance = numpy.mean(centred.ref.mul(centred.ref), -1, { keepdims: true });
    const normal = centred.div(numpy.sqrt(variance.add(1e-6)));
    return normal.mul(weight(`${name}.weight`)).add(weight(`${name}.bias`));
  };
  const partition = (grid: JaxArray) => {
    const edge: [number, number] = [0, missing];
    const padded = missing > 0 ? numpy.pad(grid, [[0, 0], edge, edge, [0, 0]]) : grid;
    return padded.reshape([count, size, count, size, -1]).transpose([0, 2, 1, 3, 4]);
  };
  const unpartition = (list: JaxArray) => {
    const grid = list.reshape([count, count, size, size, -1]).transpose([0, 2, 1, 3, 4]);
    const whole = grid.reshape([1, count * size, count * size, -1]);
    return missing > 0 ? whole.slice([], [0, side], [0, side], []) : whole;
  };
  /** query [G, N, D] and a table of positions -> [G, y, x, k] along the rows, or with the query turned along the columns. */
  const positions = (query: JaxArray, table: string) => {
    const places = Array.from({ length: N }, (_, i) => Math.floor(i / size) - (i % size) + size - 1);
    const chosen = new Float32Array(N * (2 * size - 1));
    places.forEach((place, i) => {
      chosen[i * (2 * size - 1) + place] = 1;
    });
    const rows = numpy.matmul(numpy.array(chosen).reshape([N, 2 * size - 1]), weight(table)); // [p k, D]
    return numpy.matmul(query, numpy.matrixTranspose(rows.reshape([1, size, size, D]))); // [G, p, other, D] x [1, p, D, k]; without the 1 it is wrong in 0.1.25
  };
  const attend = (list: JaxArray) => {
    const G = windows * heads;
    const qkv = linear('attn.qkv', list.reshape([windows * N, -1])).reshape([windows, N, 3, heads, D]);
    const [query, key, value] = numpy
      .split(qkv.transpose([2, 0, 3, 1, 4]).reshape([3, G, N, D]), 3, 0)
      .map((part) => part.reshape([G, N, D])) as [JaxArray, JaxArray, JaxArray];
    const grid = query.ref.reshape([G, size, size, D]);
    const height = positions(grid.ref, 'attn.rel_pos_h');
    const width = positions(grid.transpose([0, 2, 1, 3]), 'attn.rel_pos_w').transpose([0, 2, 1, 3]);
    const products = numpy.matmul(query, numpy.matrixTranspose(key)).mul(D ** -0.5);
    const scores = products
      .reshape([G, N, size, size])
      .add(height.reshape([G, N, size, 1]))
      .add(width.reshape([G, N, 1, size]));
    const mixed = numpy.matmul(nn.softmax(scores.reshape([G, N, N]), -1), value);
    const merged = mixed.reshape([windows, heads, N, D]).transpose([0, 2, 1, 3]);
    return linear('attn.proj', merged.reshape([windows * N, heads * D]));
  };
  const afterAttention = x.ref.add(unpartition(attend(partition(norm('norm1', x)))));
  const hidden = nn.gelu(linear('mlp.lin1', norm('norm2', afterAttention.ref)), { approximate: false });
  return afterAttention.add(linear('mlp.lin2', hidden));
}
