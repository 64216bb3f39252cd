import type { Graph } from './graph.ts';

/** A linear layer by its checkpoint name, which the node has too: x [T, I] -> [T, O]. */
export function linear(graph: Graph, name: string, x: string): string {
  return graph.node('Gemm', name, [x, graph.weight(`${name}.weight`), graph.weight(`${name}.bias`)], { transB: 1 });
}

/** A layer norm over the last axis. Mean and variance are float32 in every graph (`stash_type`, by default). */
export function layerNorm(graph: Graph, name: string, x: string, epsilon = 1e-6): string {
  return graph.node('LayerNormalization', name, [x, graph.weight(`${name}.weight`), graph.weight(`${name}.bias`)], {
    axis: -1,
    epsilon: { float: epsilon },
  });
}

/** A layer norm over the channels of [B, C, h, w]. */
export function channelNorm(graph: Graph, name: string, x: string): string {
  const last = transpose(graph, `${name}.channels_last`, x, [0, 2, 3, 1]);
  return transpose(graph, `${name}.channels_first`, layerNorm(graph, name, last), [0, 3, 1, 2]);
}

/** x / 2 * (1 + erf(x / sqrt(2))), in the order of nodes that onnxruntime fuses into one. */
export function gelu(graph: Graph, name: string, x: string): string {
  const scaled = graph.node('Div', `${name}.div`, [x, graph.scalar(Math.SQRT2)]);
  const erf = graph.node('Erf', `${name}.erf`, [scaled]);
  const gate = graph.node('Add', `${name}.add`, [erf, graph.scalar(1)]);
  return graph.node('Mul', name, [graph.node('Mul', `${name}.mul`, [x, gate]), graph.scalar(0.5)]);
}

/** A convolution by its checkpoint name: x [B, I, h, w] -> [B, O, ...]; as many weights as there are. */
export function convolution(
  graph: Graph,
  name: string,
  x: string,
  { bias, ...attributes }: { bias: boolean; strides?: number[]; pads?: number[] },
): string {
  const size = graph.shapeOf(`${name}.weight`).slice(2);
  const weights = [graph.weight(`${name}.weight`), ...(bias ? [graph.weight(`${name}.bias`)] : [])];
  return graph.node('Conv', name, [x, ...weights], { kernel_shape: size, ...attributes });
}

/** A transposed convolution of size and stride 2: [B, I, h, w] -> [B, O, 2h, 2w]. */
export function upscale2x(graph: Graph, name: string, x: string): string {
  return graph.node('ConvTranspose', name, [x, graph.weight(`${name}.weight`), graph.weight(`${name}.bias`)], {
    kernel_shape: [2, 2],
    strides: [2, 2],
  });
}

/** Linear layers with ReLU between them: [T, I] -> [T, O]. */
export function perceptron(graph: Graph, name: string, x: string, depth = 3): string {
  let y = x;
  for (let i = 0; i < depth; i++) {
    y = linear(graph, `${name}.layers.${i}`, y);
    if (i < depth - 1) y = graph.node('Relu', `${name}.layers.${i}.relu`, [y]);
  }
  return y;
}

/** To sizes that are known; one of them may be -1. */
export function reshape(graph: Graph, name: string, x: string, shape: readonly number[]): string {
  return graph.node('Reshape', name, [x, graph.integers(...shape)]);
}

export function transpose(graph: Graph, name: string, x: string, perm: readonly number[]): string {
  return graph.node('Transpose', name, [x], { perm });
}

/** Sizes that are known when the graph runs, between ones that are known now: a vector. */
export function shape(graph: Graph, name: string, parts: readonly (string | readonly number[])[]): string {
  const vectors = parts.map((part) => (typeof part === 'string' ? part : graph.integers(...part)));
  return graph.node('Concat', name, vectors, { axis: 0 });
}

/** The sizes of a value's axes from `start` to before `end`: a vector. */
export function sizes(graph: Graph, name: string, x: string, [start, end]: readonly [number, number]): string {
  return graph.node('Shape', name, [x], { start, end });
}
