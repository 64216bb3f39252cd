import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { loadWeights, type RawTensor, readSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, vi } from 'vitest';
import {
  type EverythingMask,
  type EverythingOptions,
  loadSam,
  parseSamConfig,
  type RgbImage,
  type SamConfig,
} from '../src/index.ts';

/** The sizes of the sam-tiny fixture, a whole small SAM of segment-anything. */
export const tinyConfig: SamConfig = parseSamConfig({
  imageSize: 128,
  patchSize: 16,
  heads: 4,
  headWidth: 12,
  windowSize: 3,
  globalBlocks: [1, 3],
  decoderHeads: 4,
});

/** A fixture's weights, and the reference's inputs and outputs. */
export interface Fixture {
  weights: Weights;
  io: Record<string, RawTensor>;
}

/** Opens WebGPU for the tests of a file, and closes it after them. */
export function withWebgpu(): void {
  let close = () => {};
  beforeAll(async () => {
    const backend = await useWebgpu();
    close = () => backend.dispose();
  });
  afterAll(() => close());
}

/** The path of a file of test/fixtures. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

/** Reads sam-tiny. */
export async function readTiny(): Promise<Fixture> {
  const { weights } = await loadWeights(fixturePath('sam-tiny/model.safetensors'));
  return { weights, io: (await readSafetensors(fixturePath('sam-tiny/io.safetensors'))).tensors };
}

/** Reads slimsam-object, a globally pruned SlimSAM pickled as a whole. */
export async function readSlimsamObject(): Promise<Fixture & { config: SamConfig }> {
  const pickled = gunzipSync(await readFile(fixturePath('slimsam-object/model_object.pth.gz')));
  const { weights, config } = await loadSam(pickled);
  return { weights, config, io: (await readSafetensors(fixturePath('slimsam-object/io.safetensors'))).tensors };
}

/** A value of the fixture as a tensor. */
export function tensorOf({ io }: Fixture, name: string): tf.Tensor {
  const { data, shape } = io[name]!;
  return tf.tensor(data, shape, 'float32');
}

/** Largest difference, as a share of the reference's range. */
export async function relativeError(actual: tf.Tensor, fixture: Fixture, name: string): Promise<number> {
  const reference = fixture.io[name]!;
  expect(actual.shape).toEqual(reference.shape);
  const values = await actual.data();
  let [low, high, worst] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  reference.data.forEach((value, i) => {
    low = Math.min(low, value);
    high = Math.max(high, value);
    worst = Math.max(worst, Math.abs(value - values[i]!));
  });
  return worst / (high - low);
}

/** The image of the sam-tiny fixture. */
export function imageOf({ io }: Fixture): RgbImage {
  return { width: 117, height: 90, data: io.image_u8!.data as Uint8Array };
}

/** Keeps masks of the small SAM, which is random, so that they are neither stable nor predicted well. */
export const loose: EverythingOptions = {
  pointsPerSide: 4,
  predIouThresh: -1,
  stabilityScoreThresh: 0,
  stabilityScoreOffset: 0.02,
  maskThreshold: 0.02,
};

/** Bytes of tensors that `work` held at most beyond those before it. */
export async function peakBytes(work: () => Promise<unknown>): Promise<number> {
  const engine = tf.engine();
  const endScope = engine.endScope.bind(engine);
  const before = tf.memory().numBytes;
  let peak = 0;
  const spy = vi.spyOn(engine, 'endScope').mockImplementation((result) => {
    peak = Math.max(peak, tf.memory().numBytes);
    endScope(result);
  });
  await work().finally(() => spy.mockRestore());
  return peak - before;
}

/** The same masks in the same order; the numbers of the model may differ in their last digits. */
export function expectSame(found: EverythingMask[], reference: EverythingMask[]): void {
  const exact = ({ predictedIou: _, ...mask }: EverythingMask) => mask;
  expect(found.map(exact)).toEqual(reference.map(exact));
  found.forEach(({ predictedIou }, i) => {
    expect(predictedIou).toBeCloseTo(reference[i]!.predictedIou, 5);
  });
}
