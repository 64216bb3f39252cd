import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compressRle, decodeRle, encodeRle, readDetections, readGroundTruth, readSa1b } from '@slimsam/eval';
import { formatPlan, parsePlan, plan } from '@slimsam/prune';
import { decodeImage } from '@slimsam/vit';
import { linear } from '@slimsam/weights';
import { openRun } from 'slimsam/node';
import type { Format } from './format.ts';
import { json, ramp, utf8 } from './format.ts';
import { pixels, validImage } from './images.ts';
import type { Random } from './random.ts';

/** A mask of rectangles, with its size. */
function randomMask(random: Random, { width, height }: { width: number; height: number }) {
  const mask = new Uint8Array(width * height);
  for (let times = random(4); times > 0; times--) {
    const [x, y] = [random(width), random(height)];
    const [right, bottom] = [x + 1 + random(width - x), y + 1 + random(height - y)];
    for (let row = y; row < bottom; row++) mask.fill(1, row * width + x, row * width + right);
  }
  const { size, counts } = encodeRle(mask, { width, height });
  const area = mask.reduce((sum, inside) => sum + inside, 0);
  const asText = random(2) === 0;
  return { area, rle: { size, counts: asText ? compressRle({ size, counts }).counts : [...counts] } };
}

const boxIn = (random: Random, { width, height }: { width: number; height: number }) => {
  const [x, y] = [random(width), random(height)];
  return [x, y, 1 + random(width - x), 1 + random(height - y)];
};

/** One JSON file of SA-1B for an image of that size. */
function sa1b(random: Random, size: { width: number; height: number }) {
  return {
    image: { image_id: random(1e9), ...size, file_name: 'sa_1.png' },
    annotations: Array.from({ length: random(5) }, (_, i) => {
      const { area, rle } = randomMask(random, size);
      return {
        id: 1000 + i,
        bbox: boxIn(random, size),
        area,
        segmentation: rle,
        point_coords: [[random(size.width * 2) / 2, random(size.height)]],
        ...(random(2) === 0 && {
          predicted_iou: random(1000) / 1000,
          stability_score: 1,
          crop_box: boxIn(random, size),
        }),
        ...(random(3) === 0 && { own: 'field' }),
      };
    }),
  };
}

/** An instances file of COCO. */
function coco(random: Random) {
  const images = Array.from({ length: 1 + random(3) }, (_, i) => ({
    ...{ id: 7 * i + 1, width: 1 + random(40), height: 1 + random(40), file_name: `${i}.jpg` },
    ...(random(3) === 0 && { coco_url: 'http://images/x.jpg', license: 1 }),
  }));
  const categories = Array.from({ length: 1 + random(3) }, (_, i) => ({
    id: i + 1,
    name: `kind ${i}`,
    supercategory: '',
  }));
  const annotations = Array.from({ length: 1 + random(5) }, (_, i) => {
    const image = images[random(images.length)]!;
    const bbox = boxIn(random, image);
    const [x, y, w, h] = bbox as [number, number, number, number];
    const { area, rle } = randomMask(random, image);
    const polygons = [[x, y, x + w, y, x + w, y + h, x, y + h + 0.5]];
    return {
      ...{ id: 100 + i, image_id: image.id, category_id: 1 + random(categories.length), bbox, area },
      ...{ segmentation: random(2) === 0 ? polygons : rle, iscrowd: random(2) },
    };
  });
  return { info: { year: 2017 }, licenses: [], images, annotations, categories };
}

const facts = {
  recipe: { name: 'slim', steps: [{ kind: 'prune', ratio: 0.5 }] },
  seed: 1,
  model: 'a',
  photographs: ['b', 2],
};

async function planText(random: Random): Promise<string> {
  const [hidden, out] = [2 + random(30), 1 + random(5)];
  const weights = {
    ...{ 'blocks.0.a.weight': { shape: [hidden, 2] }, 'blocks.0.a.bias': { shape: [hidden] } },
    ...{ 'blocks.1.b.weight': { shape: [out, hidden] }, other: { shape: [3] } },
  };
  const axes = { ...linear('blocks.0.a', 'hidden', null), 'blocks.1.b.weight': [null, 'hidden'] };
  const importance = { hidden: ramp(hidden).map(Math.abs) };
  const how = { ranking: random(2) === 0 ? 'local' : 'global', normalise: 'mean', ratio: random(100) / 101 } as const;
  return formatPlan(await plan({ weights, axes, importance, ...how, ...(random(3) === 0 && { dropBlocks: [1] }) }));
}

/** Writes a JSON file, reads it by `read`. */
async function inFile(bytes: Uint8Array, folder: string, read: (path: string) => Promise<unknown>): Promise<void> {
  const path = join(folder, 'data.json');
  await writeFile(path, bytes);
  await read(path);
}

const small = { width: 9, height: 7 };
const groundTruth = {
  images: [{ id: 1, width: 20, height: 10, fileName: '', absent: [], incomplete: [] }],
  ...{ source: 'truth', categories: [{ id: 1, name: 'kind' }], annotations: [] },
};

/** Annotations, plans, runs and images. */
export const dataFormats: Readonly<Record<string, Format>> = {
  'pruning plan': {
    valid: async (random) => new TextEncoder().encode(await planText(random)),
    read: async (bytes) => void parsePlan(new TextDecoder().decode(bytes)),
  },
  RLE: {
    valid: async (random) => utf8(randomMask(random, { width: 1 + random(40), height: 1 + random(40) }).rle),
    read: async (bytes) => void decodeRle(json(bytes) as Parameters<typeof decodeRle>[0]),
  },
  'SA-1B': {
    valid: async (random) => utf8(sa1b(random, small)),
    read: async (bytes, folder) => {
      await mkdir(join(folder, 'sa1b'), { recursive: true });
      await writeFile(join(folder, 'sa1b/sa_1.json'), bytes);
      await writeFile(join(folder, 'sa1b/sa_1.png'), await pixels(small).png().toBuffer());
      for await (const image of readSa1b(join(folder, 'sa1b'))) await image.bytes();
    },
  },
  'COCO instances': {
    valid: async (random) => utf8(coco(random)),
    read: (bytes, folder) => inFile(bytes, folder, (path) => readGroundTruth(path)),
  },
  'COCO detections': {
    valid: async (random) =>
      utf8(
        Array.from({ length: 1 + random(5) }, () => ({
          ...{ image_id: 1, category_id: 1, score: random(1000) / 1000 },
          ...{ bbox: boxIn(random, { width: 20, height: 10 }) },
          ...(random(2) === 0 && { segmentation: randomMask(random, { width: 20, height: 10 }).rle }),
        })),
      ),
    read: (bytes, folder) => inFile(bytes, folder, (path) => readDetections(path, groundTruth)),
  },
  'run.json': {
    valid: async (random) =>
      new TextEncoder().encode(
        `${JSON.stringify({ format: 'slimsam-run', facts }, null, random(4))}${'\n'.repeat(random(3))}`,
      ),
    read: async (bytes, folder) => {
      const at = join(folder, 'run');
      await mkdir(at, { recursive: true });
      await writeFile(join(at, 'run.json'), bytes);
      const run = await openRun(at);
      try {
        await run.begin(facts);
      } finally {
        await run.close();
        await rm(at, { recursive: true });
      }
    },
  },
  ...Object.fromEntries(
    (['jpeg', 'png', 'webp', 'gif', 'tiff', 'avif'] as const).map((format) => [
      format.toUpperCase(),
      {
        valid: (random: Random) => validImage(format, random),
        read: async (bytes: Uint8Array) => void (await decodeImage(bytes)),
      },
    ]),
  ),
};
