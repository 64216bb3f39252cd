/** Evaluates the disc of 20 % on a folder of scenes: by a call, or as a process of its own that can be killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readSa1b } from '../src/data/read-sa1b.ts';
import { discBaseline } from '../src/protocols/disc-baseline.ts';
import { runProtocol } from '../src/protocols/run-protocol.ts';

/** @param options.delay milliseconds that each answer takes */
export async function evaluateDiscs(
  data: string,
  { folder, shard, delay = 0 }: { folder: string; shard: string; delay?: number },
): Promise<void> {
  const [part, parts] = shard.split('/').map(Number) as [number, number];
  const disc = discBaseline({ radius: 0.2 });
  await runProtocol({
    ...{ protocol: { name: 'clicks', clicks: 2 }, images: readSa1b(data), folder, shard: { part, parts } },
    model: { name: 'discs', weights: 'none' },
    segment: async (image, prompts) => {
      await sleep(delay);
      return disc(image, prompts);
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [data, folder, shard, delay] = process.argv.slice(2) as [string, string, string, string];
  await evaluateDiscs(data, { folder, shard, delay: Number(delay) });
}
