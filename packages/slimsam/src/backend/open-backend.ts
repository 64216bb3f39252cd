import { cpus } from 'node:os';
import util from 'node:util';
import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';

/** The names that `--backend` takes. */
export const backends = ['webgpu', 'cpu', 'wasm', 'tfjs-node', 'tfjs-node-gpu', 'auto'] as const;

/** An open TensorFlow.js backend: the name of what computes, and how to let go of it. */
export interface OpenBackend {
  readonly adapter: string;
  /** Of `auto`: why this one. */
  readonly reason?: string;
  /** Features of WebGPU that it has. */
  readonly features?: readonly string[];
  close(): void;
}

const nodePackages = { 'tfjs-node': '@tensorflow/tfjs-node', 'tfjs-node-gpu': '@tensorflow/tfjs-node-gpu' } as const;

/**
 * Opens a TensorFlow.js backend by name and makes it the current one.
 *
 * @param name `webgpu` (ours), `cpu` (tfjs-backend-cpu); `wasm` (inference alone), `tfjs-node` or `tfjs-node-gpu`, optional packages
 *   that are imported when asked for; `auto`: WebGPU on a GPU, else tfjs-node-gpu or tfjs-node where one is installed, else WebGPU
 * @param options.adapter a part of the name of the WebGPU adapter, where a machine has several
 * @throws when the name is unknown, an adapter is named for another backend than webgpu, there is no WebGPU adapter, or the optional package does not load, with the cause
 */
export async function openBackend(
  name: string,
  options: { readonly adapter?: string | undefined } = {},
): Promise<OpenBackend> {
  const { adapter } = options;
  if (name === 'webgpu') return opened(await useWebgpu(adapter));
  if (adapter !== undefined) throw new Error(`--adapter: expected --backend webgpu beside it, got ${name}`);
  if (name === 'auto') return openBest();
  if (name === 'cpu') {
    await import('@tensorflow/tfjs-backend-cpu');
    await tf.setBackend('cpu');
    return { adapter: `tfjs-backend-cpu on ${processor()}`, close: () => {} };
  }
  if (name === 'wasm') {
    await importOptional(name, '@tensorflow/tfjs-backend-wasm');
    await tf.setBackend('wasm');
    return { adapter: `tfjs-backend-wasm on ${processor()}`, close: () => {} };
  }
  if (name === 'tfjs-node' || name === 'tfjs-node-gpu') return openNode(name);
  throw new Error(`--backend: expected one of ${backends.join(', ')}, got '${name}'`);
}

/** Its many kernels are loaded where they are asked for. */
async function useWebgpu(adapter?: string): Promise<WebgpuBackend> {
  const { useWebgpu: open } = await import('@slimsam/tensor-webgpu');
  return open(adapter === undefined ? {} : { adapter });
}

const opened = (backend: WebgpuBackend): OpenBackend => ({
  adapter: backend.facts.name,
  features: backend.facts.features,
  close: () => backend.dispose(),
});

const processor = (): string => cpus()[0]?.model ?? 'an unknown CPU';

/** What is known of speed: README, "Backends". */
async function openBest(): Promise<OpenBackend> {
  let webgpu: WebgpuBackend | undefined;
  let obstacle = '';
  try {
    webgpu = await useWebgpu();
    if (!webgpu.facts.isCpu) return { ...opened(webgpu), reason: `WebGPU, since ${webgpu.facts.name} is a GPU` };
    obstacle = `WebGPU's adapter computes on the CPU (${webgpu.facts.name})`;
  } catch (error) {
    obstacle = error instanceof Error ? error.message : String(error);
  }
  const causes: string[] = [];
  for (const name of ['tfjs-node-gpu', 'tfjs-node'] as const) {
    try {
      const backend = await openNode(name);
      webgpu?.dispose();
      return { ...backend, reason: `${name}, which is faster there: ${obstacle}` };
    } catch (error) {
      causes.push(error instanceof Error ? error.message : String(error));
    }
  }
  if (!webgpu) throw new Error([`--backend auto: expected a backend, got none; ${obstacle}`, ...causes].join('\n'));
  return { ...opened(webgpu), reason: `WebGPU, since neither tfjs-node-gpu nor tfjs-node loads, although ${obstacle}` };
}

/** What is used of TensorFlow's backend. */
interface NodeBackend extends tf.KernelBackend {
  readonly isUsingGpuDevice?: boolean;
  readonly binding?: { readonly TF_Version?: string };
}

async function openNode(name: keyof typeof nodePackages): Promise<OpenBackend> {
  // both still call util.isNullOrUndefined, which Node 23 removed
  const legacy = util as typeof util & { isNullOrUndefined?: (value: unknown) => boolean };
  legacy.isNullOrUndefined ??= (value) => value === null || value === undefined;
  await importOptional(name, nodePackages[name]);
  await tf.setBackend('tensorflow');
  const { isUsingGpuDevice, binding } = tf.backend() as NodeBackend;
  const version = binding?.TF_Version ? `TensorFlow ${binding.TF_Version}` : 'TensorFlow';
  const device = isUsingGpuDevice ? 'a GPU, by CUDA' : processor();
  return { adapter: `${name} (${version} on ${device})`, close: () => {} };
}

/** Imports a package that may not be installed, or whose binding may be missing. */
async function importOptional(name: string, optionalPackage: string): Promise<void> {
  try {
    await import(optionalPackage);
  } catch (error) {
    const cause = (error instanceof Error ? error.message : String(error)).split('\n')[0];
    throw new Error(
      `--backend ${name}: expected '${optionalPackage}' to load, got: ${cause}; install it with ` +
        `'npm install ${optionalPackage}', or take --backend webgpu`,
      { cause: error },
    );
  }
}
