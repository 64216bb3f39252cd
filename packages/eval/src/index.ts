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
export type { Report, ReportOverlay, ReportPlot, ReportTable } from './report/report.ts';
export { writeReport } from './report/write-report.ts';
export { generateScenes, type ScenesOptions } from './sa1b/generate-scenes.ts';
export { readSa1b, type Sa1bAnnotation, type Sa1bImage } from './sa1b/read-sa1b.ts';
export { generateScene, type RgbImage, type Scene, type SceneAnnotation, type SceneOptions } from './scenes/scene.ts';
