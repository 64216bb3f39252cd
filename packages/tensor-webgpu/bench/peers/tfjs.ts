import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Values } from '../cases/case.ts';
import { importPeer, peerFolder } from './install.ts';
import { expectFits, type Runner } from './runner.ts';

/** Runs cases on a registered TensorFlow.js backend; all copies of tfjs-core share one engine. */
function tfjsRunner(
  name: string,
  backendName: string,
  options: { finish: () => Promise<unknown>; mostBytes?: number },
): Runner {
  const { finish, mostBytes = Number.POSITIVE_INFINITY } = options;
  return {
    name,
    async prepare(one, made, pass) {
      expectFits(one.largest, mostBytes);
      await tf.setBackend(backendName);
      const tensor = ({ shape, data }: Values) => tf.tensor(data, [...shape]);
      const inputs = made.inputs.map(tensor);
      const dy = tensor(made.dy);
      let last: tf.Tensor[] = [];
      return {
        async run(times = 1) {
          await tf.setBackend(backendName);
          for (let n = 0; n < times; n++) {
            tf.dispose(last);
            last = tf.tidy(() => (pass === 'forward' ? [one.compute(...inputs)] : tf.grads(one.compute)(inputs, dy)));
          }
          await finish();
        },
        async results() {
          await tf.setBackend(backendName);
          const results: Float32Array[] = [];
          for (const result of last) results.push((await result.data()) as Float32Array);
          return results;
        },
        free() {
          tf.dispose([...last, ...inputs, dy]);
        },
      };
    },
  };
}

/** What of Google's backend submits its work. */
interface GoogleBackend extends tf.KernelBackend {
  readonly device: GPUDevice;
  readonly commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

export const ours = (backend: WebgpuBackend): Runner =>
  tfjsRunner('ours', 'slimsam-webgpu', { finish: () => backend.sync() });

/** Google's WebGPU backend. */
export async function tfjsWebgpu(mostBytes: number): Promise<Runner> {
  await importPeer('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
  await tf.ready();
  const backend = tf.backend() as GoogleBackend;
  return tfjsRunner('tfjs-backend-webgpu', 'webgpu', {
    mostBytes,
    finish: () => {
      if (backend.commandEncoder) {
        backend.endComputePassEncoder();
        backend.submitQueue();
      }
      return backend.device.queue.onSubmittedWorkDone();
    },
  });
}

/** The WebAssembly backend, with SIMD and one thread: Node has no more of it. It computes at once. */
export async function tfjsWasm(): Promise<Runner> {
  const wasm = await importPeer<{ setWasmPaths(folder: string): void }>('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(`${peerFolder('@tensorflow/tfjs-backend-wasm')}dist/`);
  await tf.setBackend('wasm');
  await tf.ready();
  return tfjsRunner('tfjs-backend-wasm', 'wasm', { finish: async () => {}, mostBytes: 2 ** 29 }); // its 4 GiB hold eight of them
}
