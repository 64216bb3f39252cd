import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import { replacing, rounded } from '../../kernels/elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { concat } from '../../kernels/movement/concat.ts';
import { slice } from '../../kernels/movement/movement.ts';
import type { Program } from '../../program/program.ts';
import { isTuned, tunedProgram, upTo } from '../../tuning/tunings.ts';
import { type AttentionSpec, attentionStatistics } from './attention.wgsl.ts';
import { type AttentionKind, attentionShape, attentionShapes, shapeName } from './attention-choice.ts';
import { rowsForward, rowsKeyGradient, rowsQueryGradient } from './attention-gpu.wgsl.ts';
import { panelBackward } from './attention-panel-backward.wgsl.ts';
import { panelForward } from './attention-panel-forward.wgsl.ts';
import { fitsSubgroups, subgroupForward } from './attention-subgroup.wgsl.ts';

type AttentionTensors = Tensors<'query' | 'key' | 'value', 'height' | 'width'>;
type GradientTensors = AttentionTensors & Tensors<'output' | 'logSumExp' | 'gradient'>;

interface AttentionAttrs {
  readonly scale: number;
}

const buffersOfPanels = { forward: 7, gradient: 12 };
const buffersOfBias = 10; // with fewer, height and width are one tensor, and so are their gradients: 8 are enough then

interface Plan {
  readonly spec: AttentionSpec;
  /** The kernels for CPU adapters, with subgroups of 8 lanes; else those for GPUs. */
  readonly panels: boolean;
  /** Height and width are one tensor. */
  readonly joined: boolean;
}

function planOf(
  { facts }: WebgpuBackend,
  { query, key, height, width }: AttentionTensors,
  { scale, pass }: AttentionAttrs & { readonly pass: 'forward' | 'gradient' },
): Plan {
  const [G, Nq, D] = query.shape as [number, number, number];
  const Nk = key.shape[1]!;
  const bias = height !== undefined;
  const panels = takesPanels(facts) && facts.storageBuffers >= buffersOfPanels[pass];
  const joined = bias && !panels && pass === 'gradient' && facts.storageBuffers < buffersOfBias;
  const [kh, kw] = bias ? [height.shape[2]!, width!.shape[2]!] : [Nk, 1];
  return { spec: { G, Nq, Nk, D, kh, kw, scale, bias, half: false }, panels, joined };
}

const float = (shape: readonly number[]) => ({ shape, dtype: 'float32' as const });

const programs = { forward: rowsForward, query: rowsQueryGradient, key: rowsKeyGradient };
const names = { forward: 'attention', query: 'attention query gradient', key: 'attention key gradient' };

/** The program for GPUs that was measured to be the fastest, else the one that is expected to be. */
function rowsProgram(
  backend: WebgpuBackend,
  kind: AttentionKind,
  { spec, joined }: { readonly spec: AttentionSpec; readonly joined: boolean },
): Program {
  const program = programs[kind];
  const { facts } = backend;
  const matrix =
    kind === 'forward' && spec.half ? facts.subgroupAttention.find((one) => fitsSubgroups(one, spec.D)) : undefined;
  const bySubgroups = matrix && { name: 'subgroup matrices', program: () => subgroupForward(spec, matrix) };
  const expected = () => bySubgroups?.program() ?? program(spec, { shape: attentionShape(kind, facts, spec), joined });
  if (!isTuned(backend)) return expected();
  const { G, Nq, Nk, D, kh, kw, bias, half } = spec;
  const candidates = () => {
    const shapes = attentionShapes(kind, facts, spec).map((shape) => ({
      name: shapeName(shape),
      program: () => program(spec, { shape, joined }),
    }));
    return bySubgroups ? [bySubgroups, ...shapes] : shapes;
  };
  const [queries, keys] = [G * Nq * D, G * Nk * D];
  const positions = !bias
    ? []
    : joined
      ? [[G, Nq, kh + kw]]
      : [
          [G, Nq, kh],
          [G, Nq, kw],
        ];
  const inputs = positions.map((shape) => shape.reduce((product, size) => product * size));
  const results = {
    forward: [
      [G, Nq, D],
      [G, Nq],
    ],
    query: [[G, Nq, D], ...positions],
    key: [
      [G, Nk, D],
      [G, Nk, D],
    ],
  };
  const gradients = kind === 'forward' ? [] : [queries, G * Nq * 2];
  const work = {
    candidates,
    all: candidates,
    operands: [queries, keys, keys, ...gradients, ...inputs],
    results: results[kind],
  };
  const grid = bias ? `${kh} x ${kw} keys with positions` : `${Nk} keys`;
  const name = `${names[kind]} [${upTo(G)}, ${Nq}, ${D}]${half ? ' half' : ''} over ${grid}${joined ? ', joined' : ''}`;
  return tunedProgram(backend, name, work) ?? expected();
}

function forward(backend: WebgpuBackend, inputs: AttentionTensors, { scale }: AttentionAttrs): tf.TensorInfo[] {
  const { query, key, value, height, width } = inputs;
  const { spec: exact, panels } = planOf(backend, inputs, { scale, pass: 'forward' });
  const half = [query, key, value].every((x) => backend.isHalf(x));
  const spec = { ...exact, half };
  const tensors = height ? [query, key, value, height, width!] : [query, key, value];
  const program = panels // they pass their sums through the output, in float32
    ? panelForward(spec)
    : rowsProgram(backend, 'forward', { spec, joined: false });
  const [output, logSumExp] = backend.run(program, tensors, [float(query.shape), float([spec.G, spec.Nq])]) as [
    tf.TensorInfo,
    tf.TensorInfo,
  ];
  return [half && panels ? replacing(backend, output, rounded) : output, logSumExp];
}

function backward(backend: WebgpuBackend, inputs: GradientTensors, { scale }: AttentionAttrs): tf.TensorInfo[] {
  const { query, key, value, height, width, output, logSumExp, gradient } = inputs;
  const { spec, panels, joined } = planOf(backend, inputs, { scale, pass: 'gradient' });
  const statistics = backend.run(
    attentionStatistics(spec),
    [output, gradient, logSumExp],
    [float([spec.G, spec.Nq, 2])],
  )[0]!;
  const bias = height ? [height, width!] : [];
  const tensors = [query, key, value, gradient, statistics, ...bias];
  if (panels) {
    const made = backend.run(
      panelBackward(spec),
      tensors,
      [query, key, value, ...bias].map(({ shape }) => float(shape)),
    );
    backend.disposeData(statistics.dataId);
    return made;
  }
  const positions = joined ? [concat(backend, bias, 2)] : bias;
  const read = [query, key, value, gradient, statistics, ...positions];
  const [dQuery, ...dPositions] = backend.run(
    rowsProgram(backend, 'query', { spec, joined }),
    read,
    [query, ...positions].map(({ shape }) => float(shape)),
  );
  const dKeys = backend.run(rowsProgram(backend, 'key', { spec, joined }), read, [
    float(key.shape),
    float(value.shape),
  ]);
  backend.disposeData(statistics.dataId);
  if (!joined) return [dQuery!, ...dKeys, ...dPositions];
  const { G, Nq, kh, kw } = spec;
  const dBias = [
    slice(backend, dPositions[0]!, [0, 0, 0], [G, Nq, kh]),
    slice(backend, dPositions[0]!, [0, 0, kh], [G, Nq, kw]),
  ];
  for (const { dataId } of [...positions, ...dPositions]) backend.disposeData(dataId);
  return [dQuery!, ...dKeys, ...dBias];
}

export const attentionKernels: readonly Kernel[] = [
  kernel('FusedAttention', forward),
  kernel('FusedAttentionBias', forward),
  kernel('FusedAttentionGrad', backward),
];
