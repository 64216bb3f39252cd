import { erf } from '../../packages/tensor-webgpu/test/erf.ts';

/** A block of SAM's encoder in float64: the residual stream x [side, side, C] and the weights by their checkpoint names. */
export interface Block {
  readonly side: number;
  /** Side of an attention window. */
  readonly size: number;
  readonly heads: number;
  readonly headWidth: number;
  readonly x: Float64Array;
  readonly weights: Readonly<Record<string, Float64Array>>;
}

/** The block's output at some tokens, each [C], by the formulas of segment-anything. */
export function blockOutput(block: Block, tokens: readonly (readonly [number, number])[]): Float64Array[] {
  const { side, size, heads, headWidth: D, x, weights } = block;
  const C = x.length / side ** 2;
  const inner = heads * D;
  const get = (name: string) => weights[name]!;
  const norm = (name: string, row: Float64Array) => {
    const mean = row.reduce((a, b) => a + b) / C;
    const inverse = 1 / Math.sqrt(row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C + 1e-6);
    return row.map((v, c) => (v - mean) * inverse * get(`${name}.weight`)[c]! + get(`${name}.bias`)[c]!);
  };
  /** Outputs first to end of a linear layer. */
  const linear = (name: string, row: Float64Array, first = 0, end = get(`${name}.bias`).length) => {
    const [weight, bias] = [get(`${name}.weight`), get(`${name}.bias`)];
    return Float64Array.from({ length: end - first }, (_, i) => {
      let sum = bias[first + i]!;
      for (let c = 0; c < row.length; c++) sum += row[c]! * weight[(first + i) * row.length + c]!;
      return sum;
    });
  };
  const stream = (row: number, column: number) => x.slice((row * side + column) * C, (row * side + column + 1) * C);
  const [tableY, tableX] = [get('attn.rel_pos_h'), get('attn.rel_pos_w')];

  return tokens.map(([row, column]) => {
    const [top, left] = [row - (row % size), column - (column % size)];
    const query = linear('attn.qkv', norm('norm1', stream(row, column)), 0, inner);
    const keys: Float64Array[] = []; // keys and values
    for (let y = top; y < top + size; y++)
      for (let z = left; z < left + size; z++) {
        const inside = y < side && z < side; // windows are padded with zeros after the norm
        keys.push(linear('attn.qkv', inside ? norm('norm1', stream(y, z)) : new Float64Array(C), inner, 3 * inner));
      }
    const attended = new Float64Array(inner);
    for (let h = 0; h < heads; h++) {
      const q = query.subarray(h * D, (h + 1) * D);
      const relative = (table: Float64Array, from: number, to: number) => {
        let sum = 0;
        for (let e = 0; e < D; e++) sum += q[e]! * table[(from - to + size - 1) * D + e]!;
        return sum;
      };
      const scores = keys.map((key, k) => {
        let sum = 0;
        for (let e = 0; e < D; e++) sum += q[e]! * key[h * D + e]!;
        return (
          sum / Math.sqrt(D) +
          relative(tableY, row - top, Math.floor(k / size)) +
          relative(tableX, column - left, k % size)
        );
      });
      const most = scores.reduce((a, b) => Math.max(a, b));
      const shares = scores.map((score) => Math.exp(score - most));
      const total = shares.reduce((a, b) => a + b);
      keys.forEach((key, k) => {
        for (let e = 0; e < D; e++) attended[h * D + e]! += (shares[k]! / total) * key[inner + h * D + e]!;
      });
    }
    const projected = linear('attn.proj', attended);
    const middle = stream(row, column).map((v, c) => v + projected[c]!);
    const hidden = linear('mlp.lin1', norm('norm2', middle)).map((v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)));
    const last = linear('mlp.lin2', hidden);
    return middle.map((v, c) => v + last[c]!);
  });
}
