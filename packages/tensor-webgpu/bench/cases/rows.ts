import { gelu, layerNorm } from '@slimsam/tensor-webgpu/ops';
import * as tf from '@tensorflow/tfjs-core';
import { gelu as onnxGelu } from '../../../vit/src/onnx/layers.ts';
import { erf } from '../../test/erf.ts';
import { type Case, Errors, graphInputs, places, values, worstOf } from './case.ts';

function softmax(name: string, shape: readonly [number, number, number]): Case {
  const C = shape[2];
  const elements = tf.util.sizeFromShape([...shape]);
  return {
    name,
    family: 'softmax',
    flops: 5 * elements,
    largest: elements,
    make: () => ({ inputs: [values(shape, 1, 4)], dy: values(shape, 2) }),
    compute: (x) => tf.softmax(x!),
    onnx: (graph, inputs) => graph.node('Softmax', 'y', graphInputs(graph, inputs), { axis: -1 }),
    jax: ({ nn }, x) => nn.softmax(x!, -1),
    error(pass, [result], { inputs, dy }) {
      const errors = new Errors();
      for (const row of places(elements / C, 4)) {
        const x = Float64Array.from(inputs[0]!.data.subarray(row * C, (row + 1) * C));
        const top = x.reduce((a, b) => Math.max(a, b));
        const shares = x.map((v) => Math.exp(v - top));
        const total = shares.reduce((a, b) => a + b);
        const mean = shares.reduce((sum, share, i) => sum + (share / total) * dy.data[row * C + i]!, 0);
        shares.forEach((share, i) => {
          const y = share / total;
          errors.add(pass === 'forward' ? y : y * (dy.data[row * C + i]! - mean), result![row * C + i]!);
        });
      }
      return errors.worst;
    },
  };
}

function norm(name: string, [rows, C]: readonly [number, number]): Case {
  return {
    name,
    family: 'layer norm',
    flops: 8 * rows * C,
    largest: rows * C,
    make: () => ({ inputs: [values([rows, C], 1), values([C], 2), values([C], 3)], dy: values([rows, C], 4) }),
    compute: (x, scale, offset) => layerNorm(x!, { scale: scale!, offset: offset! }),
    onnx: (graph, inputs) =>
      graph.node('LayerNormalization', 'y', graphInputs(graph, inputs), { axis: -1, epsilon: { float: 1e-6 } }),
    jax: ({ numpy }, x, scale, offset) => {
      const centred = x!.ref.sub(numpy.mean(x!, -1, { keepdims: true }));
      const variance = numpy.mean(centred.ref.mul(centred.ref), -1, { keepdims: true });
      return centred
        .div(numpy.sqrt(variance.add(1e-6)))
        .mul(scale!)
        .add(offset!);
    },
    error(pass, results, { inputs, dy }) {
      const [x, scale, offset] = inputs.map(({ data }) => data) as [Float32Array, Float32Array, Float32Array];
      const errors = results.map(() => new Errors());
      const sums = [new Float64Array(C), new Float64Array(C)] as const;
      const looked = new Set(places(rows, 6));
      for (let row = 0; row < rows; row++) {
        const values = Float64Array.from(x.subarray(row * C, (row + 1) * C));
        const mean = values.reduce((a, b) => a + b) / C;
        const inverse = 1 / Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C + 1e-6);
        const normal = values.map((v) => (v - mean) * inverse);
        const g = normal.map((_, i) => dy.data[row * C + i]! * scale[i]!);
        const a = g.reduce((sum, v) => sum + v) / C;
        const b = g.reduce((sum, v, i) => sum + v * normal[i]!, 0) / C;
        normal.forEach((n, i) => {
          sums[0][i]! += dy.data[row * C + i]! * n;
          sums[1][i]! += dy.data[row * C + i]!;
          const value = pass === 'forward' ? n * scale[i]! + offset[i]! : (g[i]! - a - n * b) * inverse;
          if (looked.has(row)) errors[0]!.add(value, results[0]![row * C + i]!);
        });
      }
      if (pass === 'backward')
        sums.forEach((sum, k) => {
          sum.forEach((value, i) => {
            errors[k + 1]!.add(value, results[k + 1]![i]!);
          });
        });
      return worstOf(errors);
    },
  };
}

function geluCase(name: string, shape: readonly [number, number]): Case {
  const elements = shape[0] * shape[1];
  return {
    name,
    family: 'GELU',
    flops: 8 * elements,
    largest: elements,
    make: () => ({ inputs: [values(shape, 1, 2)], dy: values(shape, 2) }),
    compute: (x) => gelu(x!),
    onnx: (graph, inputs) => onnxGelu(graph, 'y', graphInputs(graph, inputs)[0]!),
    jax: ({ nn }, x) => nn.gelu(x!, { approximate: false }),
    error(pass, [result], { inputs, dy }) {
      const errors = new Errors();
      for (const i of places(elements, 500)) {
        const x = inputs[0]!.data[i]!;
        const integral = 0.5 * (1 + erf(x * Math.SQRT1_2));
        const density = Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
        errors.add(pass === 'forward' ? x * integral : dy.data[i]! * (integral + x * density), result![i]!);
      }
      return errors.worst;
    },
  };
}

export function columnSums(name: string, [rows, C]: readonly [number, number]): Case {
  return {
    name,
    family: 'column sums',
    flops: rows * C,
    largest: rows * C,
    make: () => ({ inputs: [values([rows, C], 1)], dy: values([C], 2) }),
    compute: (x) => tf.sum(x!, 0),
    onnx: (graph, inputs) =>
      graph.node('ReduceSum', 'y', [...graphInputs(graph, inputs), graph.integers(0)], { keepdims: 0 }),
    jax: ({ numpy }, x) => numpy.sum(x!, 0),
    error(pass, [result], { inputs, dy }) {
      const errors = new Errors();
      for (const column of places(C, 20)) {
        let sum = 0;
        for (let row = 0; row < rows; row++) sum += inputs[0]!.data[row * C + column]!;
        errors.add(pass === 'forward' ? sum : dy.data[column]!, result![pass === 'forward' ? column : C + column]!);
      }
      return errors.worst;
    },
  };
}

export const rowCases: readonly Case[] = [
  softmax('softmax 12x1024x1024', [12, 1024, 1024]),
  norm('layer norm 4096x768', [4096, 768]),
  geluCase('GELU 4096x3072', [4096, 3072]),
  columnSums('column sums 4096x768', [4096, 768]),
];
