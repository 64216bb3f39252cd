import * as tf from '@tensorflow/tfjs-core';
import type { Graph } from '../../../vit/src/onnx/graph.ts';

/** Numbers with their shape. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What of jax-js the cases use. An operation consumes its arrays; `ref` keeps one for another use. */
export interface JaxArray {
  readonly ref: JaxArray;
  reshape(shape: number[]): JaxArray;
  transpose(order: number[]): JaxArray;
  slice(...ranges: ([number, number] | [])[]): JaxArray;
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray): JaxArray;
  dispose(): void;
  data(): Promise<Float32Array>;
}
export interface Jax {
  readonly numpy: {
    array(values: Float32Array): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    matrixTranspose(a: JaxArray): JaxArray;
    mean(a: JaxArray, axis: number, options: { keepdims: boolean }): JaxArray;
    sum(a: JaxArray, axis: number): JaxArray;
    sqrt(a: JaxArray): JaxArray;
    pad(a: JaxArray, widths: [number, number][]): JaxArray;
    split(a: JaxArray, sections: number, axis: number): JaxArray[];
  };
  readonly nn: {
    softmax(a: JaxArray, axis: number): JaxArray;
    gelu(a: JaxArray, options: { approximate: boolean }): JaxArray;
  };
}

/** One operation at one size. */
export interface Case {
  readonly name: string;
  readonly family: 'matmul' | 'attention' | 'softmax' | 'layer norm' | 'GELU' | 'column sums';
  /** Of the forward pass; forward and gradients together count as three times as many. */
  readonly flops: number;
  /** Elements of the largest tensor that a composition stores. */
  readonly largest: number;
  /** Inputs and the gradient of the output. */
  make(): { readonly inputs: readonly Values[]; readonly dy: Values };
  /** The fused op where the current backend has it, else its composition. */
  readonly compute: (...inputs: tf.Tensor[]) => tf.Tensor;
  /** Adds the case to an ONNX graph; the inputs `x0`, `x1`, … of the graph are those of the case, others are constants. Gives the output's name. */
  readonly onnx: (graph: Graph, inputs: readonly Values[]) => string;
  readonly jax: (jax: Jax, ...inputs: JaxArray[]) => JaxArray;
  /** The largest error against float64 at some places, over the largest value there. */
  error(pass: Pass, results: readonly Float32Array[], made: ReturnType<Case['make']>): number;
}

/** `backward` is the forward pass and the gradients of all inputs, as training runs them. */
export type Pass = 'forward' | 'backward';

/** Numbers of about a normal distribution, the same on every run. */
export function values(shape: readonly number[], seed: number, spread = 1): Values {
  const data = new Float32Array(tf.util.sizeFromShape([...shape]));
  let state = Math.imul(seed, 2654435761) >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < data.length; i++) data[i] = spread * (uniform() + uniform() + uniform() - 1.5) * 2;
  return { shape, data };
}

/** Declares all inputs of a case as the graph's. */
export const graphInputs = (graph: Graph, inputs: readonly Values[]): string[] =>
  inputs.map(({ shape }, i) => graph.input(`x${i}`, shape));

/** Collects expected and actual values; `worst` is the largest difference over the largest expected value. */
export class Errors {
  #difference = 0;
  #largest = 0;

  add(expected: number, actual: number): void {
    const difference = Math.abs(expected - actual);
    if (!(difference <= this.#difference)) this.#difference = difference; // NaN stays
    this.#largest = Math.max(this.#largest, Math.abs(expected));
  }

  get worst(): number {
    return this.#difference / this.#largest;
  }
}

/** The worst of several tensors' errors, each over its own largest value. */
export const worstOf = (errors: readonly Errors[]): number => Math.max(...errors.map(({ worst }) => worst));

/** Some indices below n: the ends and others that spread well. */
export function places(n: number, count: number): number[] {
  const list = Array.from({ length: count }, (_, i) => (i * 7919 + 13) % n);
  return [...new Set([0, n - 1, ...list])];
}
