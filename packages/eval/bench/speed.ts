/**
 * Speed of masks and of COCO's evaluation, on a set as large as val2017: 5,000 images of 640 x 480, 36,000 annotations as polygons, 100
 * detections an image as compressed RLE.
 *
 *     node --conditions=@slimsam/source --import tsx packages/eval/bench/speed.ts [--images 5000]
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import {
  compressRle,
  decodeRle,
  decompressRle,
  encodeRle,
  evaluateCoco,
  polygonRle,
  type Rle,
  readDetections,
  readGroundTruth,
  rleIous,
} from '@slimsam/eval';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

const images = Number(process.argv[process.argv.indexOf('--images') + 1]) || 5000;
const [width, height] = [640, 480];
const rng = xoroshiro128plus(17);
const random = () => (rng.next() >>> 0) / 2 ** 32;

/** A wavy outline, [x, y, x, y, …]. */
function outline(): number[] {
  const [radius, waves, phase] = [8 + 110 * random() ** 2, 3 + Math.floor(6 * random()), 6.28 * random()];
  const [x, y] = [radius + (width - 2 * radius) * random(), radius + (height - 2 * radius) * random()];
  return Array.from({ length: 40 }, (_, i) => {
    const angle = (6.2832 * i) / 40;
    const r = radius * (0.8 + 0.2 * Math.sin(waves * angle + phase));
    return [x + r * Math.cos(angle), y + r * Math.sin(angle)];
  }).flat();
}

const moved = (polygon: readonly number[]) => {
  const [dx, dy] = [12 * (random() - 0.5), 12 * (random() - 0.5)];
  return polygon.map((value, i) => value + (i % 2 === 0 ? dx : dy));
};

const work = await mkdtemp(path.join(tmpdir(), 'slimsam-speed-'));
const lines: string[] = [];
const tell = (line: string) => {
  lines.push(line);
  console.log(line);
};

/** Seconds of processor time and of the clock. */
async function timed<T>(body: () => T | Promise<T>): Promise<{ value: T; cpu: number; wall: number }> {
  const [before, start] = [process.cpuUsage(), performance.now()];
  const value = await body();
  const { user, system } = process.cpuUsage(before);
  return { value, cpu: (user + system) / 1e6, wall: (performance.now() - start) / 1e3 };
}

try {
  console.log(`${cpus().length} x ${cpus()[0]!.model}, Node ${process.version}`);
  await measureMasks();
  await writeSet();
  const [truthFile, foundFile] = ['truth', 'found'].map((name) => path.join(work, `${name}.json`)) as [string, string];
  const megabytes = ((await stat(truthFile)).size + (await stat(foundFile)).size) / 1e6;
  const read = await timed(async () => {
    const groundTruth = await readGroundTruth(truthFile);
    return { groundTruth, detections: await readDetections(foundFile, groundTruth) };
  });
  const { groundTruth, detections } = read.value;
  const counts = [images, groundTruth.annotations.length, detections.detections.length].map((n) =>
    n.toLocaleString('en'),
  );
  tell(`${counts[0]} images, ${counts[1]} annotations, ${counts[2]} detections, ${megabytes.toFixed(0)} MB of JSON`);
  tell(`reading, checking, rasterising: ${read.cpu.toFixed(1)} s of processor time, ${read.wall.toFixed(1)} s`);
  const matched = await timed(() => evaluateCoco(read.value));
  tell(
    `evaluateCoco, segm: ${matched.cpu.toFixed(1)} s of processor time, ${matched.wall.toFixed(1)} s; AP ${matched.value.stats[0]!.toFixed(4)}`,
  );
  tell(`peak memory: ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`);
} finally {
  await rm(work, { recursive: true });
}

async function measureMasks(): Promise<void> {
  const rles = Array.from({ length: 200 }, () => polygonRle(outline(), [height, width]));
  const masks = rles.map(decodeRle);
  const strings = rles.map(compressRle);
  const runs = rles.reduce((sum, { counts }) => sum + counts.length, 0) / rles.length;
  tell(`masks of ${width} x ${height} with ${runs.toFixed(0)} runs on average; per second of processor time:`);
  const megapixels = (width * height * rles.length) / 1e6;
  const repeated = async (times: number, body: () => void) => {
    body();
    const { cpu } = await timed(() => {
      for (let i = 0; i < times; i++) body();
    });
    return times / cpu;
  };
  const encode = await repeated(5, () => masks.forEach((mask) => void encodeRle(mask, { width, height })));
  tell(`  encodeRle: ${(encode * megapixels).toFixed(0)} MB of pixels`);
  const decode = await repeated(20, () => strings.forEach((mask) => void decodeRle(mask)));
  tell(`  decodeRle of strings: ${(decode * megapixels).toFixed(0)} MB of pixels`);
  const thousands = (rate: number) => `${((rate * rles.length) / 1e3).toFixed(0)} thousand masks`;
  tell(`  decompressRle: ${thousands(await repeated(200, () => strings.forEach((mask) => void decompressRle(mask))))}`);
  tell(`  compressRle: ${thousands(await repeated(200, () => rles.forEach((rle: Rle) => void compressRle(rle))))}`);
  const pairs = await repeated(3, () => void rleIous(rles, rles));
  tell(`  rleIous: ${((pairs * rles.length ** 2) / 1e3).toFixed(0)} thousand pairs`);
}

async function writeSet(): Promise<void> {
  const truth = createWriteStream(path.join(work, 'truth.json'));
  const found = createWriteStream(path.join(work, 'found.json'));
  const categories = Array.from({ length: 80 }, (_, i) => ({ id: i + 1, name: `class ${i + 1}` }));
  const list = Array.from({ length: images }, (_, i) => ({ id: i + 1, width, height, file_name: `${i + 1}.jpg` }));
  truth.write(`{"images": ${JSON.stringify(list)}, "categories": ${JSON.stringify(categories)}, "annotations": [`);
  found.write('[');
  let id = 0;
  for (const { id: image_id } of list) {
    const own = Array.from({ length: random() < 0.2 ? 8 : 7 }, () => ({
      ...{ id: ++id, image_id, category_id: 1 + Math.floor(80 * random()), iscrowd: 0, polygon: outline() },
    }));
    for (const { polygon, ...annotation } of own) {
      const [xs, ys] = [polygon.filter((_, i) => i % 2 === 0), polygon.filter((_, i) => i % 2 === 1)];
      const [x, y] = [Math.min(...xs), Math.min(...ys)];
      const bbox = [x, y, Math.max(...xs) - x, Math.max(...ys) - y];
      const record = { ...annotation, area: 0.7 * bbox[2]! * bbox[3]!, bbox, segmentation: [polygon] };
      truth.write(`${annotation.id > 1 ? ',\n' : ''}${JSON.stringify(record)}`);
    }
    const detections = Array.from({ length: 100 }, (_, i) => {
      const near = i < 60 ? own[i % own.length] : undefined;
      const { size, counts } = compressRle(polygonRle(near ? moved(near.polygon) : outline(), [height, width]));
      const category_id = near?.category_id ?? 1 + Math.floor(80 * random());
      return JSON.stringify({ image_id, category_id, score: random(), segmentation: { size, counts } });
    });
    if (!found.write(`${image_id > 1 ? ',\n' : ''}${detections.join(',\n')}`)) await once(found, 'drain');
  }
  truth.end(']}');
  found.end(']');
  await Promise.all([once(truth, 'finish'), once(found, 'finish')]);
}
