import * as tf from '@tensorflow/tfjs-core';
import { type Program, useWebgpu } from '../../packages/tensor-webgpu/src/index.ts';
import { gelu, half, layerNorm } from '../../packages/tensor-webgpu/src/ops/index.ts';
import type { KernelCase, Vendor } from './direct.ts';

/** The other kernels' texts: ops run on a backend that poses as a GPU, whose `run` keeps each program and computes nothing. */
export async function capturedCases(vendor: Vendor): Promise<KernelCase[]> {
  const backend = await useWebgpu({ name: 'gpu-stats' });
  const facts = { ...backend.facts, isCpu: false, subgroupSize: vendor === 'amd' ? 32 : 0, vendor }; // Intel's varies
  const found = new Map<string, KernelCase>();
  let what = '';
  const zeros = new Float32Array(4096 * 3072);
  const unknown = new WeakSet<object>();
  const halves = new WeakSet<object>();
  const made = (shape: readonly number[], dtype: tf.DataType): tf.TensorInfo => {
    const info = backend.makeTensor(zeros.subarray(0, tf.util.sizeFromShape([...shape])), shape, dtype);
    unknown.add(info.dataId as object);
    return info;
  };
  const known = backend.cpuValues.bind(backend);
  Object.defineProperties(backend, {
    facts: { value: facts },
    run: {
      value: ({ shader }: Program, _: tf.TensorInfo[], outputs: readonly { shape: number[]; dtype: tf.DataType }[]) => {
        const key = `${what} ${shader.wgsl}`;
        if (!found.has(key)) found.set(key, { kernel: shader.label, case: what, wgsl: shader.wgsl });
        return outputs.map(({ shape, dtype }, i) => {
          const result = made(shape, dtype);
          if (shader.outputs[i]!.half) halves.add(result.dataId as object);
          return result;
        });
      },
    },
    cpuValues: { value: (x: tf.TensorInfo) => (unknown.has(x.dataId as object) ? undefined : known(x)) },
    isHalf: { value: ({ dataId }: tf.TensorInfo) => halves.has(dataId as object) },
  });
  const tensor = (...shape: number[]) => {
    const { dataId } = made(shape, 'float32');
    return tf.engine().makeTensorFromDataId(dataId, shape, 'float32');
  };
  const capture = (name: string, work: () => unknown) => {
    what = name;
    tf.tidy(() => {
      work();
    });
  };
  const [rows, wide, vector] = [tensor(4096, 768), tensor(4096, 3072), tensor(768)];
  capture('4096 x 768', () => {
    const norm = (x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) => layerNorm(x, { scale, offset, epsilon: 1e-6 });
    norm(rows, vector, vector);
    tf.grads(norm)([rows, vector, tensor(768)]);
    for (const op of [tf.add, tf.mul, tf.maximum, tf.mod]) op(rows, vector);
    for (const op of [tf.relu, tf.exp, tf.sin, tf.erf]) op(rows);
    for (const axis of [0, 1]) for (const op of [tf.sum, tf.mean, tf.max]) op(rows, axis);
    tf.argMax(rows, 1);
    tf.cumsum(rows, 1);
    tf.transpose(rows, [1, 0]);
    if (facts.features.includes('shader-f16')) half(rows);
  });
  capture('4096 x 3072', () => {
    gelu(wide);
    tf.grad((x) => gelu(x))(wide);
  });
  for (const C of [196, 4096])
    capture(`3600 x ${C}`, () => {
      tf.softmax(tensor(3600, C));
      tf.grad((x) => tf.softmax(x))(tensor(3600, C));
    });
  capture('1 x 4096 x 12 x 64', () => tf.transpose(tensor(1, 4096, 12, 64), [0, 2, 1, 3]));
  backend.dispose();
  return [...found.values()];
}
