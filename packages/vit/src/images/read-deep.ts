import type { Sharp } from 'sharp';
import type { DecodeHow } from './image-source.ts';
import type { RgbImage } from './rgb-image.ts';

/** Spaces in which libvips holds values as the file has them. */
const plainSpaces: readonly string[] = ['b-w', 'grey16', 'rgb16', 'srgb', 'rgb', 'scrgb'];

/**
 * The pixels of an image of more than 8 bits a value, brought to 8: scaled by the largest of them, or, of 16 bits the upper 8, of others
 * what lies in [0, 255].
 *
 * @throws when it is in a colour space of its own, such as Lab
 */
export async function readDeep(
  image: Sharp,
  { depth, space, scaleByMaximum, onDim }: DecodeHow & { depth: string; space: string },
): Promise<RgbImage> {
  if (!plainSpaces.includes(space))
    throw new Error(`values of type ${depth} in the colour space ${space}; save it as RGB`);
  const { data, info } = await image
    .pipelineColourspace(space)
    .toColourspace(space)
    .raw({ depth: depth === 'ushort' ? 'ushort' : 'float' })
    .toBuffer({ resolveWithObject: true });
  const bytes = new Uint8Array(data).buffer; // a copy, aligned
  const values = depth === 'ushort' ? new Uint16Array(bytes) : new Float32Array(bytes);
  const { width, height, channels } = info;
  const colours = channels >= 3 ? 3 : 1; // the rest is alpha
  let most = 0;
  for (let i = 0; i < values.length; i++) if (i % channels < colours && values[i]! > most) most = values[i]!;
  const factor = scaleByMaximum ? 255 / (most || 1) : depth === 'ushort' ? 1 / 256 : 1;
  if (!scaleByMaximum && most > 0 && (most * factor < 128 || most * factor >= 256)) {
    const lost = depth === 'ushort' ? 'its upper 8 bits are kept, which is dark' : 'it is cut to [0, 255]';
    onDim(
      `has values up to ${Number(most.toPrecision(5))} of type ${depth}: ${lost}; scaleByMaximum: true makes the largest white`,
    );
  }
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = values[i * channels + (colours === 3 ? c : 0)]! * factor;
      pixels[3 * i + c] = Math.min(255, Math.max(0, scaleByMaximum ? Math.round(value) : Math.floor(value)));
    }
  }
  return { width, height, data: pixels };
}
