export type { Grid } from './coco/accumulate.ts';
export { type BadRecord, badRecordText, type OnBad } from './coco/bad-record.ts';
export type { ReadOptions } from './coco/check-records.ts';
export type { OverlapType } from './coco/evaluate.ts';
export {
  averagePrecision,
  averageRecall,
  type CocoFault,
  type CocoOptions,
  type CocoResult,
  cocoRanges,
  cocoStats,
  evaluateCoco,
} from './coco/evaluate-coco.ts';
export { evaluateLvis, type LvisOptions, lvisStats } from './coco/evaluate-lvis.ts';
export { type CocoJson, detectionsOf, groundTruthOf } from './coco/from-objects.ts';
export type {
  Box,
  CocoCategory,
  CocoDetection,
  CocoImage,
  CocoInstance,
  Detections,
  GroundTruth,
} from './coco/instances.ts';
export { readCocoAnnotations, readDetections, readGroundTruth } from './coco/read-coco.ts';
export type { EvalAnnotation, EvalImage } from './data/eval-image.ts';
export { readPixels } from './data/pixels.ts';
export { readCocoImages } from './data/read-coco-images.ts';
export { readEdgeImages } from './data/read-edge-images.ts';
export { readMaskFolder } from './data/read-mask-folder.ts';
export { type ReadImagesOptions, readSa1b } from './data/read-sa1b.ts';
export { readSa1bTar } from './data/read-sa1b-tar.ts';
export type { Sa1bFile } from './data/sa1b-format.ts';
export type { PackedSa1bImage, Sa1bAnnotation, Sa1bImage } from './data/sa1b-image.ts';
export { boundaryIou, rleBoundary } from './masks/boundary.ts';
export { type FurthestPoint, furthestPoint } from './masks/furthest-point.ts';
export { maskIou } from './masks/mask-iou.ts';
export { boxRle, polygonRle, type Segmentation, segmentationRle } from './masks/polygon.ts';
export {
  type AnyRle,
  type CompressedRle,
  compressRle,
  decodeRle,
  decompressRle,
  encodeRle,
  type MaskSize,
  type Rle,
  rleArea,
  rleBox,
} from './masks/rle.ts';
export { boxIous, mergeRles, rleIou, rleIous } from './masks/rle-operations.ts';
export { type Latency, latencyOf, measureLatencies, measureLatency } from './measures/latency.ts';
export { type ImageIou, type MeanIouOptions, meanIou } from './measures/mean-iou.ts';
export { type Comparison, compareResults } from './protocols/compare-results.ts';
export { type BestDisc, bestDisc, discBaseline } from './protocols/disc-baseline.ts';
export { mergeResults } from './protocols/merge-results.ts';
export { type BoxToSegment, boxesByImage, type Protocol } from './protocols/protocols.ts';
export type { ImageRecord, ResultRecord, TruthRecord } from './protocols/records.ts';
export { type ResultsFolder, type RunConfig, readResults } from './protocols/results-folder.ts';
export { type RunOptions, runProtocol } from './protocols/run-protocol.ts';
export type { ImageToSegment, Prompt, Segment, Segmented } from './protocols/segment.ts';
export type { Summary } from './protocols/summary.ts';
