import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { segmentationRle } from '../masks/polygon.ts';
import { compressRle, type MaskSize, rleArea, rleBox } from '../masks/rle.ts';
import { rleIous } from '../masks/rle-operations.ts';
import { averagePrecision, evaluateCoco } from './evaluate-coco.ts';
import { evaluateLvis } from './evaluate-lvis.ts';
import { type CocoJson, detectionsOf, groundTruthOf } from './from-objects.ts';
import { readDetections, readGroundTruth } from './read-coco.ts';

const fixtures = new URL('../../test/fixtures/', import.meta.url);
const json = (name: string) => JSON.parse(readFileSync(new URL(name, fixtures), 'utf8'));
const set = (data: Float64Array) => data.reduce((sum, value) => (value > -1 ? sum + value : sum), 0);
const all = (data: Float64Array) => data.reduce((sum, value) => sum + value, 0);
const near = (found: readonly number[], expected: readonly number[]) => {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-12);
  });
};

/** Made by pycocotools on polygons, crowds and detections of our own. */
const small = json('coco-small/expected.json');
const paths = ['ground_truth', 'detections'].map((name) => fileURLToPath(new URL(`coco-small/${name}.json`, fixtures)));

test.each([
  ['segm', false],
  ['segm', true],
  ['bbox', false],
  ['bbox', true],
] as const)('coco-small, %s, class-agnostic: %s: pycocotools’ numbers', async (type, classAgnostic) => {
  const groundTruth = await readGroundTruth(paths[0]!, { type });
  const detections = await readDetections(paths[1]!, groundTruth, { type });
  const expected = small[`${type}${classAgnostic ? '_class_agnostic' : ''}`];
  const result = evaluateCoco({ groundTruth, detections, type, classAgnostic });
  near(result.stats, expected.stats);
  expect(set(result.precision.data)).toBeCloseTo(expected.precision_sum, 8);
  expect(set(result.recall.data)).toBeCloseTo(expected.recall_sum, 9);
});

test('coco-small: strings, areas and boxes of the annotations, and IoU matrices', async () => {
  const groundTruth = await readGroundTruth(paths[0]!);
  const masks = new Map(groundTruth.annotations.map(({ id, segmentation }) => [id, segmentation!]));
  const raw: CocoJson & { annotations: { id: number; image_id: number; segmentation: never }[] } =
    json('coco-small/ground_truth.json');
  for (const { annotation_id, counts, size, area, bbox } of small.annotation_rle) {
    const rle = masks.get(annotation_id)!;
    expect(rle).toEqual({ size, counts });
    expect(rleArea(rle)).toBe(area);
    expect(rleBox(rle)).toEqual(bbox);
    const { segmentation } = raw.annotations.find(({ id }: { id: number }) => id === annotation_id)!;
    expect(compressRle(segmentationRle(segmentation, size as MaskSize))).toEqual({ size, counts });
  }
  const detections = await readDetections(paths[1]!, groundTruth);
  const crowds = new Map(groundTruth.annotations.map(({ id, crowd }) => [id, Number(crowd)]));
  expect(small.iou.length).toBeGreaterThan(0);
  for (const { image_id, annotation_ids, iou } of small.iou) {
    const found = detections.detections.filter(({ imageId }) => imageId === image_id);
    const options = { crowds: annotation_ids.map((id: number) => crowds.get(id)) };
    const ious = rleIous(
      found.map(({ segmentation }) => segmentation!),
      annotation_ids.map((id: number) => masks.get(id)),
      options,
    );
    expect(ious).toHaveLength(iou.flat().length);
    near([...ious], iou.flat());
  }
});

/**
 * Random sets: ties, crowds, ids of 0, areas on the ranges' edges, empty masks and images, other maxDets. Expected: pycocotools 2.0.11
 * (boundary: with boundary-iou-api's IoU by OpenCV) and lvis 0.5.3.
 */
interface RandomSet {
  ground_truth: CocoJson;
  detections: unknown[];
  max_detections: number[];
  expected: Record<string, { stats: number[]; p?: number; r?: number; s?: number }>;
}

test('random sets: every variant as pycocotools and lvis', () => {
  const sets: RandomSet[] = json('coco-random.json');
  for (const { ground_truth, detections: raw, max_detections, expected } of sets) {
    for (const [name, { stats, p = 0, r = 0, s = 0 }] of Object.entries(expected)) {
      const type = /segm|bbox|boundary/.exec(name)![0] as 'segm' | 'bbox' | 'boundary';
      const groundTruth = groundTruthOf(ground_truth, { type });
      const inputs = { groundTruth, detections: detectionsOf(raw, groundTruth, { type }), type };
      if (name.startsWith('lvis')) {
        near(evaluateLvis(inputs).stats, stats);
        continue;
      }
      const result = evaluateCoco({ ...inputs, classAgnostic: name.endsWith('0'), maxDetections: max_detections });
      near(result.stats, stats);
      expect(all(result.precision.data)).toBeCloseTo(p, 8);
      expect(all(result.recall.data)).toBeCloseTo(r, 9);
      expect(all(result.scores.data)).toBeCloseTo(s, 8);
    }
  }
});

/** One image with two objects that are found exactly. */
function perfect(ids: readonly number[], annotation: object = {}): { groundTruth: CocoJson; detections: unknown[] } {
  const boxes = [
    [1, 1, 10, 10],
    [20, 20, 12, 12],
  ];
  return {
    groundTruth: {
      images: [{ id: 1, width: 64, height: 64 }],
      categories: [{ id: 5 }],
      annotations: ids.map((id, i) => ({ id, image_id: 1, category_id: 5, area: 100, bbox: boxes[i], ...annotation })),
    },
    detections: ids.map((_, i) => ({ image_id: 1, category_id: 5, score: 1 - i / 10, bbox: boxes[i] })),
  };
}

function evaluate(
  set: ReturnType<typeof perfect>,
  options: Pick<Parameters<typeof evaluateCoco>[0], 'correct' | 'maxDetections'> = {},
) {
  const type = 'bbox';
  const groundTruth = groundTruthOf(set.groundTruth, { type });
  return evaluateCoco({
    groundTruth,
    detections: detectionsOf(set.detections, groundTruth, { type }),
    type,
    ...options,
  });
}

test('pycocotools’ faults are there unless they are named', () => {
  const zero = perfect([0, 1]);
  expect(evaluate(zero).stats[0]).toBeLessThan(0.6);
  expect(evaluate(zero, { correct: ['id-zero'] }).stats[0]).toBeCloseTo(1, 12);
  const three = { maxDetections: [1, 2, 3] };
  expect(evaluate(perfect([1, 2]), three).stats[0]).toBe(-1);
  expect(evaluate(perfect([1, 2]), { ...three, correct: ['headline-detections'] }).stats[0]).toBeCloseTo(1, 12);
  const ignored = perfect([1, 2], { ignore: 1 });
  expect(evaluate(ignored).stats[0]).toBeCloseTo(1, 12);
  expect(evaluate(ignored, { correct: ['ignore-field'] }).stats[0]).toBe(-1);
  expect(averagePrecision(evaluate(perfect([1, 2])), { threshold: 0.9 })).toBeCloseTo(1, 12);
});

test('what cannot be evaluated is refused', () => {
  const { groundTruth: raw, detections: found } = perfect([1, 2]);
  const groundTruth = groundTruthOf(raw, { type: 'bbox', source: "'truth.json'" });
  const detections = detectionsOf(found, groundTruth, { type: 'bbox', source: "'found.json'" });
  const empty = { source: "'found.json'", detections: [] };
  expect(() => evaluateCoco({ groundTruth, detections: empty, type: 'bbox' })).toThrow(
    "'found.json': expected detections, got none",
  );
  const nothing = { ...groundTruth, annotations: [] };
  expect(() => evaluateCoco({ groundTruth: nothing, detections, type: 'bbox' })).toThrow(
    "'truth.json': annotations: expected at least one",
  );
  expect(() => evaluateCoco({ groundTruth, detections, type: 'segm' })).toThrow('that were read for boxes');
  expect(() => evaluateCoco({ groundTruth, detections, type: 'bbox', maxDetections: [10, 1, 100] })).toThrow(
    'three ascending',
  );
  const signal = AbortSignal.abort(new Error('stop'));
  expect(() => evaluateCoco({ groundTruth, detections, type: 'bbox', signal })).toThrow('stop');
});
