import { decodeRle, encodeRle, type Rle } from '@slimsam/eval';
import { generateScene } from '@slimsam/scenes';
import { decodeImage, type RgbImage } from '@slimsam/vit';

/** An image with objects, and the one point that asks for each. */
export interface LabelledImage {
  readonly name: string;
  readonly image: RgbImage;
  readonly objects: readonly { readonly point: readonly [x: number, y: number]; readonly mask: Rle }[];
}

/** Images that can be gone through more than once. */
export type LabelledImages = () => AsyncIterable<LabelledImage>;

/** What is read of an image in SA-1B's format. */
export interface LabelledSource {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly annotations: readonly {
    readonly pointCoords: readonly (readonly [x: number, y: number])[];
    readonly segmentation: Rle;
  }[];
  readonly bytes: () => Promise<Uint8Array>;
}

/** Those of the images that have objects. @throws as `read` and `decodeImage` do */
export function sa1bImages(read: () => AsyncIterable<LabelledSource>): LabelledImages {
  return async function* () {
    for await (const { name, bytes, annotations } of read()) {
      const objects = annotations.flatMap(({ pointCoords: [point], segmentation }) =>
        point ? [{ point: [...point] as const, mask: segmentation }] : [],
      );
      if (objects.length > 0) yield { name, image: await decodeImage(await bytes()), objects };
    }
  };
}

/** Synthetic scenes, a square each; those from 8,500,000 on are no one's to train on. */
export function sceneImages({ count, size }: { readonly count: number; readonly size: number }): LabelledImages {
  return async function* () {
    for (let i = 0; i < count; i++) {
      const { image, annotations } = generateScene(8_500_000 + i, { width: size, height: size });
      const objects = annotations.map(({ point, mask }) => ({ point, mask: encodeRle(mask, image) }));
      yield { name: `scene ${i}`, image, objects };
    }
  };
}

/** A mask with sampled values [cells * cells], 1 inside, of an image that is scaled into the upper left of a square of `size` pixels. */
export function cellsOf(
  mask: Rle,
  { scale, size, cells }: { scale: number; size: number; cells: number },
): Float32Array {
  const [height, width] = mask.size;
  const pixels = decodeRle(mask);
  const values = new Float32Array(cells * cells);
  const at = (cell: number) => Math.floor(((cell + 0.5) * size) / cells / scale);
  for (let v = 0; v < cells; v++) {
    for (let u = 0; u < cells; u++) {
      const [x, y] = [at(u), at(v)];
      if (x < width && y < height) values[v * cells + u] = pixels[y * width + x]!;
    }
  }
  return values;
}
