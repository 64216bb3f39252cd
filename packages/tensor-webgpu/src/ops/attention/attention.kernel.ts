import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import { replacing, rounded } from '../../kernels/elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { concat } from '../../kernels/movement/concat.ts';
import { slice } from '../../kernels/movement/movement.ts';
import { type AttentionSpec, attentionStatistics } from './attention.wgsl.ts';
import { attentionShape } from './attention-choice.ts';
import { rowsForward, rowsKeyGradient, rowsQueryGradient } from './attention-gpu.wgsl.ts';
import { panelBackward } from './attention-panel-backward.wgsl.ts';
import { panelForward } from './attention-panel-forward.wgsl.ts';

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

function forward(backend: WebgpuBackend, inputs: AttentionTensors, { scale }: AttentionAttrs): tf.TensorInfo[] {
  const { query, key, value, height, width } = inputs;
  const { spec: exact, panels } = planOf(backend, inputs, { scale, pass: 'forward' });
  const half = [query, key, value].every((x) => backend.isHalf(x));
  const spec = { ...exact, half };
  const tensors = height ? [query, key, value, height, width!] : [query, key, value];
  const program = panels // they pass their sums through the output, in float32
    ? panelForward(spec)
    : rowsForward(spec, { shape: attentionShape('forward', backend.facts, spec), joined: false });
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
  const of = (kind: 'query' | 'key') => ({ shape: attentionShape(kind, backend.facts, spec), joined });
  const [dQuery, ...dPositions] = backend.run(
    rowsQueryGradient(spec, of('query')),
    read,
    [query, ...positions].map(({ shape }) => float(shape)),
  );
  const dKeys = backend.run(rowsKeyGradient(spec, of('key')), read, [float(key.shape), float(value.shape)]);
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
