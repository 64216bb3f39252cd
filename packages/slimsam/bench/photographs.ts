/**
 * Photographs from disk: seconds to open, photographs a second, the peak of the process's memory with 100 and with many of them, and how
 * much of its time a consumer waits whose steps take a given time.
 *
 *     node --conditions=@slimsam/source --import tsx packages/slimsam/bench/photographs.ts [--count 10000] [--size 512] [--step 100]
 */
import { execFileSync } from 'node:child_process';
import { link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { openPhotographs } from '../src/photographs/open-photographs.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '10000' },
    size: { type: 'string', default: '512' },
    step: { type: 'string', default: '100' },
    read: { type: 'string' },
    epochs: { type: 'string', default: '1' },
  },
});
const [count, size, step, epochs] = [values.count, values.size, values.step, values.epochs].map(Number) as [
  number,
  number,
  number,
  number,
];

if (values.read) await measure(values.read);
else await compare();

/** One run in a process of its own: prints a line of JSON. */
async function measure(folder: string): Promise<void> {
  const start = performance.now();
  const photographs = await openPhotographs(folder);
  const opened = performance.now();
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const _ of photographs.read(photographs.names.keys(), { size })) if (step > 0) await sleep(step);
  }
  const seconds = (performance.now() - opened) / 1000;
  await photographs.close();
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  console.log(
    JSON.stringify({
      photographs: photographs.names.length * epochs,
      'to open, ms': Math.round(opened - start),
      'a second': Number(((photographs.names.length * epochs) / seconds).toFixed(1)),
      'CPU ms each': Number(((userCPUTime + systemCPUTime) / 1000 / photographs.names.length / epochs).toFixed(1)),
      'waited, %': Number(((100 * photographs.waited) / seconds).toFixed(2)),
      'peak, MiB': Math.round(maxRSS / 1024),
    }),
  );
}

/** JPEGs of 480 x 360 pixels by a formula: 100 that differ, the others are further names of them. */
async function generate(folder: string, count: number): Promise<void> {
  await mkdir(folder);
  const file = (number: number) => path.join(folder, `${String(number).padStart(6, '0')}.jpg`);
  const [width, height] = [480, 360];
  for (let number = 0; number < count; number++) {
    if (number >= 100) await link(file(number % 100), file(number));
    else {
      const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
        const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
        return (
          127 + 80 * Math.sin(0.3 * number + (x * (c + 1)) / 90 + (y * (3 - c)) / 110) + ((x * y * 7 + number) % 40)
        );
      });
      await sharp(data, { raw: { width, height, channels: 3 } })
        .jpeg()
        .toFile(file(number));
    }
  }
}

async function compare(): Promise<void> {
  const work = await mkdtemp(path.join(tmpdir(), 'slimsam-bench-'));
  try {
    const [few, many] = [path.join(work, 'few'), path.join(work, 'many')];
    await generate(few, 100);
    await generate(many, count);
    const run = (folder: string, options: { step: number; epochs: number }) => {
      const how = ['--step', String(options.step), '--epochs', String(options.epochs), '--size', String(size)];
      const flags = ['--conditions=@slimsam/source', '--import', 'tsx', fileURLToPath(import.meta.url)];
      return JSON.parse(execFileSync(process.execPath, [...flags, '--read', folder, ...how], { encoding: 'utf8' }));
    };
    console.table({
      '100, once': run(few, { step: 0, epochs: 1 }),
      '100, ten epochs': run(few, { step: 0, epochs: 10 }),
      [`${count}, once`]: run(many, { step: 0, epochs: 1 }),
      [`100, steps of ${step} ms`]: run(few, { step, epochs: 2 }),
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
