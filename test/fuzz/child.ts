/** Reads mutated inputs, of the formats in turns, and tells its parent about each: child.ts FORMATS SEED FIRST COUNT FOLDER. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { formats, liveTensors } from './formats.ts';
import { inputOf, validInputs } from './mutate.ts';
import { isSlow, type Told, wordsOf } from './verdict.ts';

const [names = '[]', seed = '1', first = '0', count = '1', parent = '.'] = process.argv.slice(2);
const wanted: string[] = JSON.parse(names);
await tf.setBackend('cpu');
const warn = console.warn;
console.warn = () => {};
const folder = await mkdtemp(join(parent, 'fuzz-'));
const valid = new Map<string, Uint8Array[]>();
for (const name of wanted) valid.set(name, await validInputs(formats[name]!, { seed: Number(seed) }));
const tell = (told: Told) => new Promise<void>((resolve) => process.send!(told, () => resolve()));

for (let i = Number(first); i < Number(first) + Number(count); i++) {
  const format = wanted[i % wanted.length]!;
  const bytes = inputOf(valid.get(format)!, { seed: Number(seed), number: i });
  process.send!({ begun: i } satisfies Told);
  const before = { memory: memory(), tensors: liveTensors(), time: performance.now(), processor: process.cpuUsage() };
  let refused: string | undefined;
  try {
    await formats[format]!.read(bytes, folder);
  } catch (error) {
    refused = error instanceof Error ? error.message : String(error);
  }
  const { user, system } = process.cpuUsage(before.processor);
  const reading = {
    ...{ refused, seconds: (performance.now() - before.time) / 1000, processor: (user + system) / 1e6 },
    ...{ grown: memory() - before.memory, size: bytes.length, leaked: liveTensors() - before.tensors },
  };
  await tell({ ended: i, problems: wordsOf(reading), slow: isSlow(reading), refused: refused !== undefined });
}
console.warn = warn;
rmSync(folder, { recursive: true });
process.disconnect();

/** Bytes that this process holds, by its own account: what was garbage may count, a gigabyte of it too. */
function memory(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
