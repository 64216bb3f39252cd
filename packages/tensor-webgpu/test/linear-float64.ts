import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../src/index.ts';
import { half, type LinearActivation, linear } from '../src/ops/index.ts';
import { erf } from './erf.ts';
import { expectOp, halfTolerance, inHalf, type Values, values } from './ops-testing.ts';

/** The normal distribution's integral and density. */
export const integral = (v: number): number => 0.5 * (1 + erf(v * Math.SQRT1_2));
export const density = (v: number): number => Math.exp(-0.5 * v * v) / Math.sqrt(2 * Math.PI);

/** A linear layer for rows of `shape`'s last axis, and what follows it. */
export interface Layer {
  readonly shape: readonly number[];
  readonly O: number;
  readonly op?: typeof linear;
  readonly activation?: LinearActivation;
  /** Inputs in half precision; with the weight, so are the results. */
  readonly halves?: readonly ('x' | 'weight')[];
}

/** linear with its activation, and the gradients of x, weight and bias against float64. */
const functions = {
  none: { value: (v: number) => v, slope: () => 1 },
  gelu: { value: (v: number) => v * integral(v), slope: (v: number) => integral(v) + v * density(v) },
  relu: { value: (v: number) => Math.max(0, v), slope: (v: number) => (v > 0 ? 1 : 0) },
};

export async function checkLinear({ shape, O, op = linear, activation, halves = [] }: Layer): Promise<void> {
  const I = shape[shape.length - 1]!;
  const { value, slope } = functions[activation ?? 'none'];
  const spread = Math.sqrt(1 / I); // results of about 1
  const inputs: Values = { x: values(shape, 1), weight: values([O, I], 2, spread), bias: values([O], 3) };
  for (const name of halves) inputs[name] = inHalf(inputs[name]!);
  const [x, weight, bias] = [inputs.x!.data, inputs.weight!.data, inputs.bias!.data];
  const rows = x.length / I;
  const dy = values([...shape.slice(0, -1), O], 4);
  const expected = {
    output: new Float64Array(rows * O),
    x: new Float64Array(rows * I),
    weight: new Float64Array(O * I),
    bias: new Float64Array(O),
  };
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < O; o++) {
      let v = bias[o]!;
      for (let i = 0; i < I; i++) v += x[r * I + i]! * weight[o * I + i]!;
      expected.output[r * O + o] = value(v);
      const g = dy.data[r * O + o]! * slope(v);
      expected.bias[o]! += g;
      for (let i = 0; i < I; i++) {
        expected.x[r * I + i]! += g * weight[o * I + i]!;
        expected.weight[o * I + i]! += g * x[r * I + i]!;
      }
    }
  }
  const run = (named: Record<string, tf.Tensor>) => {
    const { x, weight, bias } = { ...named, ...Object.fromEntries(halves.map((name) => [name, half(named[name]!)])) };
    return op(x!, { weight: weight!, bias: bias!, activation });
  };
  // sums of up to 168 products, each rounded at 6e-8
  const exact = halves.length === 0 ? 1e-5 : undefined;
  // where GPUs add up blocks of 16 products in half precision, each step rounds a part of the sum to it, up or down at random
  const roundings = (tf.backend() as WebgpuBackend).facts.isCpu ? 1 : Math.sqrt(16);
  await expectOp((named) => tf.tidy(() => run(named)), {
    ...{ inputs, dy, expected },
    tolerance: activation && !exact ? 2 * halfTolerance : 1e-5, // GELU's gradient is that at the rounded hidden values
    outputTolerance: exact ?? roundings * halfTolerance,
  });
}
