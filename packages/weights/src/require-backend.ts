import * as tf from '@tensorflow/tfjs-core';

/**
 * Checks that tensors can be made, before anything is read for them.
 *
 * @param call the function that the message names
 * @throws when TensorFlow.js has no backend, or one that is still being opened, saying which call comes first
 */
export function requireBackend(call: string): void {
  try {
    tf.backend();
  } catch (error) {
    const got = (error as Error).message.replace(/[\s.]+$/, '');
    throw new Error(
      `${call}: expected a backend of TensorFlow.js, got '${got}'; call \`await useWebgpu()\` of @slimsam/tensor-webgpu first, or import another backend`,
      { cause: error },
    );
  }
}
