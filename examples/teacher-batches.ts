import { generateScene } from '@slimsam/scenes';
import type { SamConfig } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** One step's kind of prompt, and whether the three-mask or the one-mask output is trained. */
const kinds = [
  { points: 1, box: false, multimask: false },
  { points: 0, box: true, multimask: false },
  { points: 1, box: false, multimask: true },
  { points: 2, box: false, multimask: false },
  { points: 1, box: false, multimask: false },
  { points: 1, box: true, multimask: false },
] as const;

/** What one training step sees: B images, and P prompts with their masks for each. */
export type TeacherBatch = {
  /** [B, 3, S, S], normalised */ images: tf.Tensor4D;
  /** [B * P, 1 or 2, 2] in pixels */ points?: tf.Tensor3D;
  /** [B * P, 1 or 2], 1 inside, 0 outside */ labels?: tf.Tensor2D;
  /** [B * P, 4], xyxy in pixels */ boxes?: tf.Tensor2D;
  /** [B * P, S / 4, S / 4], the share of each cell that the object covers */ targets: tf.Tensor3D;
  multimask: boolean;
};

interface LabelledScene {
  /** [S * S * 3] */ pixels: Uint8Array;
  /** [S * S], 0 the background, k the k-th object */ labels: Uint8Array;
  /** the objects' point prompts */ points: [number, number][];
}

/** Makes training batches of synthetic scenes: a pure function of the seed and the step (scenes are kept once made). */
export function teacherBatches(
  config: SamConfig,
  options: { scenes: number; batchSize: number; prompts: number; seed: number },
): (step: number) => TeacherBatch {
  const { scenes, batchSize, prompts, seed } = options;
  const size = config.imageSize;
  const cells = size / 4;
  const cache = new Map<number, LabelledScene>();
  const sceneOf = (index: number): LabelledScene => {
    const known = cache.get(index);
    if (known) return known;
    const made = labelledScene(seed * 1_000_000 + index, size);
    cache.set(index, made);
    return made;
  };
  return (step) => {
    const random = xoroshiro128plus(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b));
    for (let i = 0; i < 8; i++) random.next(); // a 32-bit seed fills a quarter of the state: the first outputs are poor
    const kind = kinds[step % kinds.length]!;
    const images = new Float32Array(batchSize * 3 * size * size);
    const targets = new Float32Array(batchSize * prompts * cells * cells);
    const points: number[] = [];
    const labels: number[] = [];
    const boxes: number[] = [];
    for (let b = 0; b < batchSize; b++) {
      const scene = flipped(sceneOf(uniformInt(random, 0, scenes - 1)), uniformInt(random, 0, 7), size);
      writeNormalised(images.subarray(b * 3 * size * size), scene.pixels, config);
      for (let p = 0; p < prompts; p++) {
        const object = 1 + uniformInt(random, 0, scene.points.length - 1);
        const target = targets.subarray((b * prompts + p) * cells * cells);
        const box = writeTarget(target, scene.labels, object, size);
        const inside =
          random01(random) < 0.5 ? scene.points[object - 1]! : pixelOf(random, scene.labels, size, object, true);
        if (kind.points > 0) points.push(...inside);
        if (kind.points > 1) points.push(...pixelOf(random, scene.labels, size, object, false));
        labels.push(...[1, 0].slice(0, kind.points));
        if (kind.box) boxes.push(...jittered(box, random, size));
      }
    }
    const count = batchSize * prompts;
    return {
      images: tf.tensor4d(images, [batchSize, 3, size, size]),
      ...(kind.points > 0 && {
        points: tf.tensor3d(points, [count, kind.points, 2]),
        labels: tf.tensor2d(labels, [count, kind.points]),
      }),
      ...(kind.box && { boxes: tf.tensor2d(boxes, [count, 4]) }),
      targets: tf.tensor3d(targets, [count, cells, cells]),
      multimask: kind.multimask,
    };
  };
}

function labelledScene(seed: number, size: number): LabelledScene {
  const { image, annotations } = generateScene(seed, { width: size, height: size });
  const labels = new Uint8Array(size * size);
  annotations.forEach(({ mask }, k) => {
    for (let i = 0; i < mask.length; i++) if (mask[i]) labels[i] = k + 1;
  });
  return { pixels: image.data, labels, points: annotations.map(({ point }) => point) };
}

/** One of the eight flips and quarter turns of a square scene. */
function flipped(scene: LabelledScene, turn: number, size: number): LabelledScene {
  const last = size - 1;
  const place = (x: number, y: number): [number, number] => {
    const [u, v] = turn & 4 ? [y, x] : [x, y];
    return [turn & 1 ? last - u : u, turn & 2 ? last - v : v];
  };
  const pixels = new Uint8Array(scene.pixels.length);
  const labels = new Uint8Array(scene.labels.length);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [u, v] = place(x, y);
      const from = y * size + x;
      const to = v * size + u;
      labels[to] = scene.labels[from]!;
      pixels[to * 3] = scene.pixels[from * 3]!;
      pixels[to * 3 + 1] = scene.pixels[from * 3 + 1]!;
      pixels[to * 3 + 2] = scene.pixels[from * 3 + 2]!;
    }
  }
  return { pixels, labels, points: scene.points.map(([x, y]) => place(x, y)) };
}

function writeNormalised(out: Float32Array, pixels: Uint8Array, config: SamConfig): void {
  const plane = pixels.length / 3;
  for (let c = 0; c < 3; c++) {
    const mean = config.pixelMean[c]!;
    const std = config.pixelStd[c]!;
    for (let i = 0; i < plane; i++) out[c * plane + i] = (pixels[i * 3 + c]! - mean) / std;
  }
}

/** Writes the object's share of every 4 x 4 cell and returns its box, xyxy. */
function writeTarget(out: Float32Array, labels: Uint8Array, object: number, size: number): number[] {
  let [x0, y0, x1, y1] = [size, size, 0, 0];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (labels[y * size + x] !== object) continue;
      out[(y >> 2) * (size >> 2) + (x >> 2)]! += 1 / 16;
      x0 = Math.min(x0, x);
      y0 = Math.min(y0, y);
      x1 = Math.max(x1, x);
      y1 = Math.max(y1, y);
    }
  }
  return [x0, y0, x1, y1];
}

/** A random pixel [x, y] inside (or outside) the object; after 4096 misses the last one tried. */
function pixelOf(random: RandomGenerator, labels: Uint8Array, size: number, object: number, inside: boolean): number[] {
  let at = 0;
  for (let tries = 0; tries < 4096; tries++) {
    at = uniformInt(random, 0, labels.length - 1);
    if ((labels[at] === object) === inside) break;
  }
  return [at % size, Math.floor(at / size)];
}

/** Moves every edge of a box by up to a tenth of its side, as a person or a detector would. */
function jittered([x0, y0, x1, y1]: number[], random: RandomGenerator, size: number): number[] {
  const move = (value: number, side: number) =>
    Math.min(size, Math.max(0, value + (random01(random) - 0.5) * 0.2 * side));
  const [w, h] = [x1! - x0!, y1! - y0!];
  return [move(x0!, w), move(y0!, h), move(x1!, w), move(y1!, h)];
}

const random01 = (random: RandomGenerator): number => uniformFloat64(random);
