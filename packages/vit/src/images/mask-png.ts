import { checkFields } from '@slimsam/weights';
import { encodePng } from '#encode-png';
import { type ImagePixels, toRgb } from './image-pixels.ts';

/** Uint8Array<ArrayBuffer>, as TypeScript before 5.7 can read it too. */
type Bytes = ReturnType<Uint8Array['slice']>;

/** How `overlayPng` tints. */
export interface OverlayOptions {
  /** Share of the tint in (0, 1], 0.5 by default. */
  readonly opacity?: number;
  /** Red, green and blue of each mask in turn, bytes; seven that the colour-blind can tell apart by default. */
  readonly colors?: readonly (readonly [number, number, number])[];
}

/** Okabe and Ito's colours. */
const usual = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
] as const;

/**
 * A mask as the bytes of a PNG: white where it is not 0, else black. In Node and in browsers.
 *
 * @param mask [height * width], as `predict` gives it
 * @throws when it has another number of pixels
 */
export async function maskPng(
  mask: Uint8Array,
  size: { readonly width: number; readonly height: number },
): Promise<Bytes> {
  checkFields('maskPng', { mask }, { mask: 'bytes' });
  checkFields('maskPng', size, { width: 'number', height: 'number' });
  const { width, height } = size;
  checkMask(mask, { width, height, call: 'maskPng' });
  return encodePng({ width, height, data: mask.map((inside) => (inside ? 255 : 0)) });
}

/**
 * An image with tinted masks as the bytes of a PNG, later masks above earlier ones. In Node and in browsers.
 *
 * @param masks [height * width] each, as `predict` gives them for the image
 * @throws when a mask has another number of pixels, the opacity is not in (0, 1], or there are no colours
 */
export async function overlayPng(
  image: ImagePixels,
  masks: readonly Uint8Array[],
  options: OverlayOptions = {},
): Promise<Bytes> {
  checkFields('overlayPng', { image, masks, options }, { image: 'object', masks: 'list', options: 'object?' });
  const { opacity = 0.5, colors = usual } = options;
  const { width, height, data } = toRgb(image, 'overlayPng');
  if (!(opacity > 0 && opacity <= 1)) throw new Error(`overlayPng: expected opacity in (0, 1], got ${opacity}`);
  if (colors.length === 0) throw new Error('overlayPng: expected colors, got none; leave them out for seven');
  const tinted = data.slice();
  masks.forEach((mask, index) => {
    checkMask(mask, { width, height, call: 'overlayPng' });
    const color = colors[index % colors.length]!;
    for (let i = 0; i < mask.length; i++) {
      if (!mask[i]) continue;
      for (let c = 0; c < 3; c++) {
        tinted[3 * i + c] = Math.round((1 - opacity) * data[3 * i + c]! + opacity * color[c]!);
      }
    }
  });
  return encodePng({ width, height, data: tinted });
}

function checkMask(mask: Uint8Array, { width, height, call }: { width: number; height: number; call: string }): void {
  if (mask instanceof Uint8Array && mask.length === width * height) return;
  const got = mask instanceof Uint8Array ? `${mask.length} bytes` : typeof mask;
  throw new Error(`${call}: expected a mask of ${width} x ${height} bytes, got ${got}; take one of predict's masks`);
}
