import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import { replacing, rounded } from '../../kernels/elementwise/half.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { type AttentionSpec, attentionStatistics } from './attention.wgsl.ts';
import { panelBackward } from './attention-panel-backward.wgsl.ts';
import { panelForward } from './attention-panel-forward.wgsl.ts';
import { tileForward, tileKeyGradient, tileQueryGradient } from './attention-tile.wgsl.ts';

type AttentionTensors = Tensors<'query' | 'key' | 'value', 'height' | 'width'>;
type GradientTensors = AttentionTensors & Tensors<'output' | 'logSumExp' | 'gradient'>;

interface AttentionAttrs {
  readonly scale: number;
}

const bindingsNeeded = { forward: 7, tileGradient: 10, panelGradient: 12 }; // storage buffers

interface Plan {
  readonly spec: AttentionSpec;
  /** The kernels for CPU adapters, with subgroups of 8 lanes; else those for GPUs. */
  readonly panels: boolean;
}

function planOf(
  backend: WebgpuBackend,
  { query, key, height, width }: AttentionTensors,
  { scale, gradient }: AttentionAttrs & { readonly gradient: boolean },
): Plan {
  const [G, Nq, D] = query.shape as [number, number, number];
  const Nk = key.shape[1]!;
  const panels = takesPanels(backend.facts);
  const needed = bindingsNeeded[!gradient ? 'forward' : panels ? 'panelGradient' : 'tileGradient'];
  const bindings = backend.facts.storageBuffers;
  if (bindings < needed) {
    throw new Error(
      `attention: expected an adapter with ${needed} storage buffers a shader, got ${bindings}; use attentionReference`,
    );
  }
  const bias = height !== undefined;
  const [kh, kw] = bias ? [height.shape[2]!, width!.shape[2]!] : [Nk, 1];
  return { spec: { G, Nq, Nk, D, kh, kw, scale, bias, half: false }, panels };
}

const float = (shape: readonly number[]) => ({ shape, dtype: 'float32' as const });

function forward(backend: WebgpuBackend, inputs: AttentionTensors, { scale }: AttentionAttrs): tf.TensorInfo[] {
  const { query, key, value, height, width } = inputs;
  const { spec: exact, panels } = planOf(backend, inputs, { scale, gradient: false });
  const half = [query, key, value].every((x) => backend.isHalf(x));
  const spec = { ...exact, half };
  const tensors = height ? [query, key, value, height, width!] : [query, key, value];
  const program = (panels ? panelForward : tileForward)(spec); // panels pass their sums through the output, in float32
  const [output, logSumExp] = backend.run(program, tensors, [float(query.shape), float([spec.G, spec.Nq])]) as [
    tf.TensorInfo,
    tf.TensorInfo,
  ];
  return [half && panels ? replacing(backend, output, rounded) : output, logSumExp];
}

function backward(backend: WebgpuBackend, inputs: GradientTensors, { scale }: AttentionAttrs): tf.TensorInfo[] {
  const { query, key, value, height, width, output, logSumExp, gradient } = inputs;
  const { spec, panels } = planOf(backend, inputs, { scale, gradient: true });
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
  const [dQuery, ...dBias] = backend.run(
    tileQueryGradient(spec),
    tensors,
    [query, ...bias].map(({ shape }) => float(shape)),
  );
  const dKeys = backend.run(tileKeyGradient(spec), tensors, [float(key.shape), float(value.shape)]);
  backend.disposeData(statistics.dataId);
  return [dQuery!, ...dKeys, ...dBias];
}

export const attentionKernels: readonly Kernel[] = [
  kernel('FusedAttention', forward),
  kernel('FusedAttentionBias', forward),
  kernel('FusedAttentionGrad', backward),
];
