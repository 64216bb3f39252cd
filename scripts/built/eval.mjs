import assert from 'node:assert/strict';
import test from 'node:test';
import { boxRle, detectionsOf, evaluateCoco, groundTruthOf, maskIou } from '@slimsam/eval';

test('eval: IoU of masks; COCO evaluation of a detection that is exact', () => {
  assert.equal(maskIou(new Uint8Array([1, 1, 0, 0]), new Uint8Array([0, 1, 1, 0])), 1 / 3);
  const { size, counts } = boxRle([3, 4, 10, 12], [32, 32]);
  const mask = { image_id: 1, category_id: 1, segmentation: { size, counts: [...counts] } };
  const groundTruth = groundTruthOf({
    images: [{ id: 1, width: 32, height: 32 }],
    categories: [{ id: 1 }],
    annotations: [{ ...mask, id: 1, area: 120 }],
  });
  const { stats } = evaluateCoco({ groundTruth, detections: detectionsOf([{ ...mask, score: 1 }], groundTruth) });
  assert.ok(Math.abs((stats[0] ?? 0) - 1) < 1e-12);
});
