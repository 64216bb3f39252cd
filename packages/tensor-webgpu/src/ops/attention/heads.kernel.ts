import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { floatType } from '../../program/types.wgsl.ts';

interface HeadsText {
  readonly way: 'split' | 'join';
  readonly wide: boolean;
  readonly half: boolean;
  /** An invocation copies a whole row of each of the three, which is faster on CPU adapters. */
  readonly runs: boolean;
}

const headsShader = memoised(({ way, wide, half, runs }: HeadsText) => {
  const type = floatType(half, wide);
  const three = { query: type, key: type, value: type };
  const whole = { qkv: type };
  const copy = ['query', 'key', 'value'].map((name, k) => {
    const at = `start + ${k}u * p.heads * p.D + d`;
    return way === 'split' ? `${name}[row * p.D + d] = qkv[${at}];` : `qkv[${at}] = ${name}[row * p.D + d];`;
  });
  return shader({
    label: way === 'split' ? 'split heads' : 'join heads',
    inputs: way === 'split' ? whole : three,
    outputs: way === 'split' ? three : whole,
    uniforms: { units: 'u32', row: 'u32', heads: 'u32', N: 'u32', D: 'u32' },
    body: `@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let row = ${runs ? 'i' : 'i / p.D'}; // of [G, heads, N]
  let n = row % p.N;
  let head = (row / p.N) % p.heads;
  let g = row / (p.N * p.heads);
  let start = ((g * p.N + n) * 3u * p.heads + head) * p.D;
  ${runs ? 'for (var d = 0u; d < p.D; d++) {' : 'let d = i % p.D;'}
  ${copy.join('\n')}
  ${runs ? '}' : ''}
}`,
  });
});

const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

function move(
  backend: WebgpuBackend,
  { way, heads, N, D }: { way: 'split' | 'join'; heads: number; N: number; D: number },
  [inputs, outputs]: readonly [readonly tf.TensorInfo[], readonly { shape: number[]; dtype: 'float32' }[]],
): tf.TensorInfo[] {
  const wide = D % 4 === 0;
  const runs = backend.facts.isCpu;
  const half = inputs.every((input) => backend.isHalf(input));
  const rows = (way === 'split' ? outputs : inputs)[0]!.shape[0]! * N;
  const unitsOfRow = wide ? D / 4 : D;
  const units = rows * (runs ? 1 : unitsOfRow);
  const { workgroups, row } = linearDispatch(units);
  const program = dispatching(headsShader({ way, wide, half, runs }), {
    workgroups,
    uniforms: { units, row, heads, N, D: unitsOfRow },
  });
  return backend.run(program, inputs, outputs);
}

export const headsKernels: readonly Kernel[] = [
  kernel<Tensors<'qkv'>, { heads: number }>('SplitHeads', (backend, { qkv }, { heads }) => {
    const [G, N, width] = qkv.shape as [number, number, number];
    const D = width / 3 / heads;
    const each = float(G * heads, N, D);
    return move(backend, { way: 'split', heads, N, D }, [[qkv], [each, each, each]]);
  }),
  kernel<Tensors<'query' | 'key' | 'value'>, { heads: number }>('JoinHeads', (backend, inputs, { heads }) => {
    const { query, key, value } = inputs;
    const [GH, N, D] = query.shape as [number, number, number];
    const whole = float(GH / heads, N, 3 * heads * D);
    return move(backend, { way: 'join', heads, N, D }, [[query, key, value], [whole]])[0]!;
  }),
];
