import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import { installPeers } from './install.ts';
import { jaxJs } from './jax.ts';
import { pollSlowly, pretendBrowser } from './navigator.ts';
import { onnxRuntime } from './onnxruntime.ts';
import type { Runner } from './runner.ts';
import { ours, tfjsWasm, tfjsWebgpu } from './tfjs.ts';

/** Installs the peers where they are missing and opens our backend, on lavapipe without its cache, so that compiling is seen. */
export async function openOurs(): Promise<WebgpuBackend> {
  installPeers();
  pretendBrowser();
  pollSlowly();
  process.env.MESA_SHADER_CACHE_DISABLE ??= 'true'; // Mesa reads it when the device is opened
  return useWebgpu();
}

/** Opens every peer, or those on WebGPU; gives ours first, then those. Prints why one is left out. */
export async function openRunners(backend: WebgpuBackend, kind: 'all' | 'webgpu' = 'all'): Promise<readonly Runner[]> {
  const runners: Runner[] = [ours(backend)];
  const { maxBindingBytes: most } = backend.facts;
  const peers = [
    () => tfjsWebgpu(most),
    ...(kind === 'all' ? [tfjsWasm, () => onnxRuntime('cpu')] : []),
    () => onnxRuntime('webgpu', most),
    () => jaxJs(most),
  ];
  for (const open of peers) {
    try {
      runners.push(await open());
    } catch (error) {
      console.log(`a peer is left out: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  await tf.setBackend('slimsam-webgpu');
  return runners;
}
