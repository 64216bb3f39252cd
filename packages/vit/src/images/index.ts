export { type FileFacts, fileKind } from './file-kind.ts';
export {
  decodeImage,
  type FilePart,
  type ImageSource,
  type ReadImageFolderOptions,
  type RgbImage,
  readImageFolder,
} from './image.ts';
export { fitLongestSide, resizeBilinear, resizeLongestSide } from './resize.ts';
