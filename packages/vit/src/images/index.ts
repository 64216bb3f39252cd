export { type FileFacts, fileKind } from './file-kind.ts';
export { decodeImage, type ReadImageFolderOptions, readImageFolder } from './image.ts';
export type { FilePart, ImageSource } from './image-source.ts';
export { fitLongestSide, resizeBilinear, resizeLongestSide } from './resize.ts';
export type { RgbImage } from './rgb-image.ts';
