import { type Latency, latencyOf, measureLatencies } from '@slimsam/eval';
import { countMacs, countParameters } from '@slimsam/prune';
import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import {
  createPredictor,
  decodeImage,
  decodeMasks,
  type EmbeddedImage,
  encodeImage,
  encodePrompts,
  encoderCosts,
  preprocess,
  type Sam,
} from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';

/** The parts of segmenting one object of a photograph, in their order. */
export const costPhases = ['decode', 'preprocess', 'encoder', 'prompt and decoder', 'masks'] as const;

/** What a SAM costs. */
export interface ModelCosts {
  readonly parameters: number;
  readonly encoderParameters: number;
  /** Of the weights as they are computed with, 4 a parameter. */
  readonly weightBytes: number;
  /** The encoder's multiply-accumulates for one image: linear and convolution layers; as the paper counts them; with attention's products. */
  readonly macs: number;
  readonly paperMacs: number;
  readonly macsWithAttention: number;
  /** The most that tensors hold on the device for one image and one point, weights included; undefined where the backend does not tell. */
  readonly peakBytes: number | undefined;
  /**
   * Milliseconds of each part, each until its result is read: decoding the file, making the input, the image encoder, the prompt encoder and mask
   * decoder for one point, and masks in the image's size. Without rounds, none.
   */
  readonly latency: Readonly<Partial<Record<(typeof costPhases)[number], Latency>>>;
}

export interface MeasureCostsOptions {
  /** A photograph: a path. */
  readonly image: string;
  /** Rounds that count, 0 for counts and memory alone; 5 unless given. Each round runs every model once. */
  readonly rounds?: number;
  /** Rounds before those, 1 unless given. */
  readonly warmup?: number;
  readonly signal?: AbortSignal;
}

/**
 * Costs of SAMs side by side on the current backend: counts, memory, and the latency of each part, the models in turns.
 *
 * @throws when the image cannot be read or the signal aborts
 */
export async function measureCosts(
  sams: ReadonlyMap<string, Sam>,
  { image, rounds = 5, warmup = 1, signal }: MeasureCostsOptions,
): Promise<Map<string, ModelCosts>> {
  const peaks = new Map<string, number | undefined>();
  const runs = new Map<string, () => Promise<unknown>>();
  const open: Disposable[] = [];
  try {
    for (const [name, sam] of sams) {
      signal?.throwIfAborted();
      const parts = await partsOf(sam, image);
      open.push(parts);
      peaks.set(name, await peakOf(sam, parts.all));
      for (const [phase, run] of Object.entries(parts.phases)) runs.set(`${name}\n${phase}`, run);
    }
    const options = { repeats: rounds, warmup, ...(signal && { signal }) };
    const times: ReadonlyMap<string, Latency> = rounds > 0 ? await measureLatencies(runs, options) : new Map();
    return new Map([...sams].map(([name, sam]) => [name, costsOf(name, sam, { peak: peaks.get(name), times })]));
  } finally {
    for (const parts of open) parts.dispose();
  }
}

interface Disposable {
  dispose(): void;
}

interface Parts extends Disposable {
  readonly phases: Readonly<Record<(typeof costPhases)[number], () => Promise<unknown>>>;
  /** The whole, once. */
  all(): Promise<void>;
}

async function partsOf({ weights, config }: Sam, file: string): Promise<Parts> {
  const image = await decodeImage(file);
  const predictor = createPredictor(weights, config);
  const { pixels, inputSize } = preprocess(image, config);
  const { embedding } = encodeImage(weights, config, pixels);
  const embedded: EmbeddedImage = {
    ...{ embedding, inputSize, originalSize: [image.height, image.width] },
    dispose: () => embedding.dispose(),
  };
  const point = [[image.width / 2, image.height / 2]] as [number, number][];
  const read = async (tensor: tf.Tensor) => {
    await tensor.data();
    tensor.dispose();
  };
  const decoder = async () => {
    const { masks, scores } = tf.tidy(() => {
      const points = tf.tensor3d([[[inputSize[1] / 2, inputSize[0] / 2]]]);
      const prompts = encodePrompts(weights, config, { points, labels: tf.ones([1, 1]) });
      const decoded = decodeMasks(weights, config, { embedding, ...prompts, multimask: false });
      return { masks: decoded.masks, scores: decoded.scores };
    });
    masks.dispose();
    await read(scores);
  };
  return {
    phases: {
      decode: () => decodeImage(file),
      preprocess: () => read(preprocess(image, config).pixels),
      encoder: () => read(encodeImage(weights, config, pixels).embedding),
      'prompt and decoder': decoder,
      // with the decoder, whose time of the same round is taken off
      masks: async () => {
        const { lowRes } = await predictor.predict(embedded, { points: point, labels: [1] }, { multimask: false });
        lowRes.dispose();
      },
    },
    all: async () => {
      const own = predictor.embed(image);
      const { lowRes } = await predictor.predict(own, { points: point, labels: [1] }, { multimask: false });
      tf.dispose([lowRes, own.embedding]);
    },
    dispose: () => tf.dispose([pixels, embedding]),
  };
}

/** The most that the backend holds while `run` runs, without what it held of other models. */
async function peakOf(sam: Sam, run: () => Promise<void>): Promise<number | undefined> {
  const backend: object = tf.backend();
  if (!isWebgpu(backend)) {
    await run();
    return undefined;
  }
  const held = () => backend.memory().numBytesInGPU;
  const own = backend.run.bind(backend);
  const before = held();
  let most = 0;
  backend.run = (...args) => {
    const made = own(...args);
    most = Math.max(most, held());
    return made;
  };
  try {
    await run();
  } finally {
    backend.run = own;
  }
  return most - before + bytesOf(sam);
}

const isWebgpu = (backend: object): backend is WebgpuBackend => 'device' in backend && 'run' in backend;

const bytesOf = ({ weights }: Sam): number => 4 * countParameters(weights);

function costsOf(
  name: string,
  sam: Sam,
  { peak, times }: { peak: number | undefined; times: ReadonlyMap<string, Latency> },
): ModelCosts {
  const { macs, paperMacs, macsWithAttention } = countMacs(sam.weights, encoderCosts(sam.weights, sam.config));
  const decoder = times.get(`${name}\nprompt and decoder`)?.samples ?? [];
  const latency = Object.fromEntries(
    costPhases.flatMap((phase) => {
      const time = times.get(`${name}\n${phase}`);
      if (!time) return [];
      return [
        [phase, phase === 'masks' ? latencyOf(time.samples.map((all, i) => Math.max(0, all - decoder[i]!))) : time],
      ];
    }),
  );
  return {
    parameters: countParameters(sam.weights),
    encoderParameters: countParameters(sam.weights, { prefix: 'image_encoder.' }),
    weightBytes: bytesOf(sam),
    ...{ macs, paperMacs, macsWithAttention, peakBytes: peak, latency },
  };
}
