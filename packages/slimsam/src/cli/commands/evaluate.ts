import { readdir } from 'node:fs/promises';
import { readSa1b } from '@slimsam/eval';
import { Command } from 'commander';
import { type Evaluation, evaluateSam } from '../../evaluate/evaluate-sam.ts';
import { evaluationTable } from '../evaluation-table.ts';
import { loadOnlySam } from '../load-model.ts';
import { type CommonOptions, common, userPath } from '../options.ts';
import { withBackend } from '../with-backend.ts';

interface Options extends CommonOptions {
  readonly data: string;
  readonly against?: string;
}

/** `slimsam evaluate MODEL --data DIR`: mIoU with one point, costs and latency. */
export function evaluateCommand(signal: AbortSignal): Command {
  const command = new Command('evaluate')
    .description('measures a SAM: mIoU with one point on labelled images, parameters, MACs, latency')
    .argument('<model>', 'a file, folder, address or Hub id of a SAM')
    .requiredOption('--data <folder>', "images with masks in SA-1B's format", userPath)
    .option('--against <model>', 'another SAM, measured beside it');
  return common(command, 'slimsam evaluate slim.safetensors --data sa1b/test --against sam_vit_b_01ec64.pth').action(
    (source: string, { data, against, ...options }: Options) =>
      withBackend(options, signal, async (session) => {
        const sources = against === undefined ? [source] : [against, source];
        const found: Record<string, Evaluation> = {};
        const sams = [];
        for (const name of sources) sams.push({ name, sam: await loadOnlySam(name, options) }); // errors come before the work
        const images = await readdir(data).catch(() => []);
        const count = images.filter((name) => name.endsWith('.json')).length;
        for (const { name, sam } of sams) {
          const bar = session.bar(`evaluate ${name}`, count);
          let done = 0;
          try {
            found[name] = await evaluateSam(sam, readSa1b(data, { signal }), {
              signal,
              onImage: () => bar.update(++done),
            });
          } finally {
            bar.stop();
          }
        }
        session.result(evaluationTable(found), { adapter: session.adapter, data, models: found });
      }),
  );
}
