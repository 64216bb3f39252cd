import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import { checkFields, disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type CompressOptions, compress } from '../compress/compress.ts';
import { type Model, networkOf } from '../models/network.ts';
import type { Photographs } from '../photographs/photographs.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { type GpuLooks, nullGpu } from './null-gpu.ts';

/** What a run is to be like. */
export interface EstimateOptions
  extends Pick<CompressOptions, 'recipe' | 'batch' | 'accumulate' | 'recompute' | 'size' | 'halfTeacher'> {
  /** The GPU; the current backend's, or else one as they are mostly. */
  readonly gpu?: GpuLooks;
}

/** What a run takes of the adapter's memory, bytes. */
export interface MemoryEstimate {
  /** The most of the whole run: buffers of tensors, and those kept for reuse. */
  readonly bytes: number;
  /** The most in each step of the recipe, by its name. */
  readonly steps: Readonly<Record<string, number>>;
  /** Of the process; on a software adapter the buffers are in it. */
  readonly process: number;
}

/**
 * How much memory compressing takes, before it starts: the recipe runs, two optimizer steps a stage, on a GPU that computes nothing and
 * holds nothing, and what it allocates is counted. Takes seconds, and little memory. Nothing else may use TensorFlow.js meanwhile.
 *
 * @throws when `compress` would: a model or a recipe that it does not take, a tensor that the adapter cannot bind
 */
export async function estimateMemory(model: Model, options: EstimateOptions): Promise<MemoryEstimate> {
  checkFields('estimateMemory', { options }, { options: 'object' });
  checkFields('estimateMemory', model, { weights: 'object', config: 'object' });
  const before = tf.getBackend();
  const looks = options.gpu ?? looksOf(before);
  const backend = await useWebgpu({ name: 'slimsam-estimate', gpu: nullGpu(looks) });
  const shapes = Object.entries(model.weights).map(([name, { shape }]) => [name, tf.zeros(shape)] as const);
  const hollow = { ...model, weights: Object.fromEntries(shapes) } as Model;
  try {
    return await counted(backend, hollow, { ...options, isCpu: looks.isCpu });
  } finally {
    disposeWeights(hollow.weights);
    backend.dispose();
    if (before) await tf.setBackend(before);
  }
}

async function counted(
  backend: WebgpuBackend,
  model: Model,
  options: EstimateOptions & { readonly isCpu: boolean },
): Promise<MemoryEstimate> {
  const { recipe, batch = 4, accumulate = 1, recompute = false, halfTeacher = false, size, isCpu } = options;
  const steps = new Map<string, number>();
  let step = '';
  const run = backend.run.bind(backend);
  backend.run = (program, inputs, outputs) => {
    const made = run(program, inputs, outputs);
    const { numBytesInGPU, numBytesIdle } = backend.memory();
    steps.set(step, Math.max(steps.get(step) ?? 0, numBytesInGPU + numBytesIdle));
    return made;
  };
  const photographs = blank(networkOf(model, { size }).size, 2 * batch * accumulate);
  const how = { batch, accumulate, recompute, halfTeacher, ...(size !== undefined && { size }) };
  const events = compress(model, { photographs, recipe: shortened(recipe), held: 0, ...how });
  for await (const event of events) {
    if (event.type === 'phase') step = event.name;
    if (event.type === 'done') disposeWeights(event.result.model.weights);
  }
  const bytes = Math.max(...steps.values());
  steps.delete(''); // before the first
  return { bytes, steps: Object.fromEntries(steps), process: isCpu ? bytes + programBytes : programBytes };
}

/** What Node, Dawn, TensorFlow.js and the photographs take themselves. */
const programBytes = 450 * 2 ** 20;

/** One epoch where a is the highest, on one photograph where it scores. */
function shortened(recipe: Recipe): Recipe {
  const steps = recipe.steps.map((step) => {
    if (step.kind === 'prune') return { ...step, sample: 1 };
    return step.kind === 'align' ? { ...step, epochs: 1 } : step;
  });
  return { ...recipe, steps };
}

/** Photographs without anything on them. */
function blank(size: number, count: number): Photographs {
  const image = { width: size, height: size, data: new Uint8Array(size * size * 3) };
  return {
    names: Array.from({ length: count }, (_, i) => `${i}`),
    identity: 'blank',
    skipped: [],
    waited: 0,
    close: async () => {},
    async *read(indices) {
      for (const index of indices) yield { index, name: `${index}`, image };
    },
  };
}

/** The GPU of a backend; a usual one where the backend has none. */
export function looksOf(name: string | undefined): GpuLooks {
  const backend = name ? (tf.engine().registry[name] as Partial<WebgpuBackend> | undefined) : undefined;
  if (!backend?.facts || !backend.device) return usual;
  const { limits } = backend.device;
  return {
    ...backend.facts,
    limits: Object.fromEntries(Object.keys(usual.limits).map((key) => [key, limitOf(limits, key)])),
  };
}

const limitOf = (limits: GPUSupportedLimits, key: string): number =>
  (limits as object as Readonly<Record<string, number>>)[key]!;

const usual: GpuLooks = {
  ...{ name: 'a GPU', isCpu: false, subgroupSize: 32, features: ['subgroups', 'shader-f16'] },
  limits: {
    maxBufferSize: 2 ** 32,
    maxStorageBufferBindingSize: 2 ** 31,
    maxStorageBuffersPerShaderStage: 16,
    maxComputeWorkgroupStorageSize: 2 ** 15,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupSizeX: 1024,
  },
};
