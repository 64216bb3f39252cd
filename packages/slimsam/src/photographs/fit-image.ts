import { fitLongestSide, type RgbImage, resizeBilinear } from '@slimsam/vit/images';
import type { Variation } from './augment.ts';

/** The size that an image gets, and how it is varied. */
export interface FitImage {
  /** Pixels. */
  readonly size: number;
  readonly fit: 'longest' | 'square';
  readonly variation?: Variation;
}

/** ImageNet's mean colour, [0, 255]: near 0 once it is normalised. */
const background = [124, 116, 104];

/** Resizes an image so that its longest side, or both, have `size` pixels; see `Augment` for how it is varied. */
export function fitImage(image: RgbImage, { size, fit, variation }: FitImage): RgbImage {
  if (!variation) return resizeBilinear(image, sides(image, { size, fit }));
  const { scale, flip } = variation;
  const scaled = scale < 1 ? zoomOut(image, { size, fit, variation }) : zoomIn(image, { size, fit, variation });
  return flip ? mirror(scaled) : scaled;
}

function sides(image: RgbImage, { size, fit }: { size: number; fit: FitImage['fit'] }) {
  return fit === 'square' ? { width: size, height: size } : fitLongestSide(image, size);
}

type Varied = Required<FitImage>;

/** A window of 1 / scale of the sides. */
function zoomIn(image: RgbImage, { size, fit, variation: { scale, x, y } }: Varied): RgbImage {
  const width = Math.max(1, Math.round(image.width / scale));
  const height = Math.max(1, Math.round(image.height / scale));
  if (width === image.width && height === image.height) return resizeBilinear(image, sides(image, { size, fit }));
  const data = new Uint8Array(width * height * 3);
  const left = Math.floor(x * (image.width - width + 1));
  const top = Math.floor(y * (image.height - height + 1));
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), row * width * 3);
  }
  const window = { width, height, data };
  return resizeBilinear(window, sides(window, { size, fit }));
}

/** The whole image at a smaller size, on the background. */
function zoomOut(image: RgbImage, { size, fit, variation: { scale, x, y } }: Varied): RgbImage {
  const { width, height } = sides(image, { size, fit });
  const small = resizeBilinear(image, {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  });
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => background[i % 3]!);
  const left = Math.floor(x * (width - small.width + 1));
  const top = Math.floor(y * (height - small.height + 1));
  for (let row = 0; row < small.height; row++) {
    const from = row * small.width * 3;
    data.set(small.data.subarray(from, from + small.width * 3), ((top + row) * width + left) * 3);
  }
  return { width, height, data };
}

/** Left to right. */
function mirror({ width, height, data }: RgbImage): RgbImage {
  const result = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [(y * width + x) * 3, (y * width + width - 1 - x) * 3];
      result[to] = data[from]!;
      result[to + 1] = data[from + 1]!;
      result[to + 2] = data[from + 2]!;
    }
  }
  return { width, height, data: result };
}
