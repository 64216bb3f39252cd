import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { checkCall } from '../program/check-call.ts';
import type { Leak } from './origins.ts';

/**
 * Runs `work` and lists the tensors that it made on this backend and did not dispose, those that it returns left out.
 *
 * Each names the kernel that made it, its shape as it was made, its size in bytes and the calls that led there. Slow: a stack is taken
 * for every tensor; use it to find a leak, not in production.
 *
 * @returns the leaks in the order in which they were made
 * @throws when an argument is of another kind, or what `work` throws
 */
export async function findLeaks(
  backend: WebgpuBackend,
  work: () => tf.TensorContainer | Promise<tf.TensorContainer>,
): Promise<Leak[]> {
  checkCall('findLeaks', { backend, work }, { backend: 'a backend', work: 'a function' });
  const tracking = backend.trackTensors();
  try {
    return tracking.left(tf.tensor_util.getTensorsInContainer(await work()));
  } finally {
    tracking.stop();
  }
}
