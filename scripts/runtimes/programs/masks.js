// eval in a page: masks and COCO's evaluation of objects; what reads files says that it cannot
import { compressRle, detectionsOf, encodeRle, evaluateCoco, groundTruthOf, readSa1b, rleArea } from '@slimsam/eval';

const mask = Uint8Array.from({ length: 20 }, (_, i) => Number(i % 5 < 3 && i < 10));
const rle = encodeRle(mask, { width: 5, height: 4 });
const one = { image_id: 1, category_id: 1, segmentation: compressRle(rle) };
const groundTruth = groundTruthOf({
  images: [{ id: 1, width: 5, height: 4 }],
  annotations: [{ ...one, id: 1, bbox: [0, 0, 3, 2], area: 6, iscrowd: 0 }],
  categories: [{ id: 1, name: 'one' }],
});
const detections = detectionsOf([{ ...one, score: 1 }], groundTruth);
let refused = '';
try {
  for await (const image of readSa1b('scenes')) refused = image.imagePath;
} catch (error) {
  refused = String(error);
}
const ap = evaluateCoco({ groundTruth, detections, type: 'segm' }).stats[0];
document.title = JSON.stringify({ area: rleArea(rle), ap, refused });
