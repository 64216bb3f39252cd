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
export { generateScene, type RgbImage, type Scene, type SceneAnnotation, type SceneOptions } from './scenes/scene.ts';
