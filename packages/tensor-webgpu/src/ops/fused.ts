import * as tf from '@tensorflow/tfjs-core';

/** Whether the current backend has the fused kernel; otherwise an op is composed of TensorFlow.js's own. */
export const hasKernel = (name: string): boolean => tf.getKernel(name, tf.getBackend()) != null;

/** Runs a fused kernel; its gradient, when one is registered under the same name, goes on the tape. */
export function runFused(
  name: string,
  inputs: Readonly<Record<string, tf.Tensor>>,
  attributes: Readonly<Record<string, number | string | boolean | number[]>> = {},
): tf.Tensor[] {
  const outputs = tf.engine().runKernel(name, inputs, { ...attributes });
  return Array.isArray(outputs) ? (outputs as tf.Tensor[]) : [outputs as tf.Tensor];
}

/** For callers without TypeScript. @throws when one of an op's inputs, by their names, is no tensor */
export function expectTensors(op: string, inputs: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(inputs))
    if (!(value instanceof tf.Tensor))
      throw new Error(`${op}: expected ${name} to be a tensor, got ${value === undefined ? 'none' : typeof value}`);
}

/** @throws when `tensor` has not this shape (null: any size) or is not float32 */
export function expectTensor(
  label: string,
  tensor: tf.Tensor,
  shape: readonly (number | null)[],
  names: string,
  cure: string,
): void {
  const agrees =
    tensor.rank === shape.length && shape.every((size, axis) => size === null || size === tensor.shape[axis]);
  if (!agrees) {
    const sizes = shape.map((size, axis) => size ?? names.split(', ')[axis]).join(', ');
    throw new Error(`${label} ${names ? `[${names}] = ` : ''}[${sizes}], got [${tensor.shape}]; ${cure}`);
  }
  if (tensor.dtype !== 'float32') throw new Error(`${label} float32, got ${tensor.dtype}; cast it with tf.cast`);
}
