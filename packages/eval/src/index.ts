export type { RgbImage } from './image.ts';
export { maskIou } from './masks/mask-iou.ts';
export {
  type CompressedRle,
  compressRle,
  decodeRle,
  decompressRle,
  encodeRle,
  type Rle,
  rleArea,
  rleBox,
} from './masks/rle.ts';
export { type Latency, measureLatency } from './measures/latency.ts';
export { type ImageIou, type MeanIouOptions, meanIou } from './measures/mean-iou.ts';
export { readSa1b, type Sa1bAnnotation, type Sa1bImage } from './sa1b/read-sa1b.ts';
export type { Sa1bFile } from './sa1b/sa1b-format.ts';
