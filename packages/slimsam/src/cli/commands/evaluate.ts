import { readdir } from 'node:fs/promises';
import { readSa1b } from '@slimsam/eval';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Evaluation, evaluateSam } from '../../evaluate/evaluate-sam.ts';
import { loadOnlySam } from '../../models/load-model.ts';
import { evaluationTable } from '../evaluation-table.ts';
import { byJobs, onManyMachines } from '../many-machines.ts';
import { type CommonOptions, common, positiveInteger, userPath } from '../options.ts';
import { withBackend } from '../with-backend.ts';
import { evaluateByJobs } from './evaluate-by-jobs.ts';
import { evaluateByProtocol, type ProtocolOptions, protocols } from './evaluate-protocol.ts';

interface Options extends CommonOptions, Omit<ProtocolOptions, 'protocol' | 'out'> {
  readonly against?: string;
  readonly protocol?: ProtocolOptions['protocol'];
  readonly out?: string;
}

/** Parses '2/5': the second of five parts. */
function shard(text: string): { part: number; parts: number } {
  const [part, parts] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).slice(1).map(Number);
  if (part && parts && part <= parts) return { part, parts };
  throw new InvalidArgumentError('expected i/n with i from 1 to n.');
}

/** `slimsam evaluate MODEL --data DIR`: mIoU with one point, costs and latency; or a protocol into a results folder. */
export function evaluateCommand(signal: AbortSignal): Command {
  const command = new Command('evaluate')
    .description(
      'measures a SAM: mIoU with one point on labelled images, parameters, MACs, latency; with --protocol, any model into a results folder that a stopped run goes on with',
    )
    .argument(
      '<model>',
      "a file, folder, address or Hub id of a SAM; with --protocol also ONNX files, or 'disc', the baseline that looks at no pixel",
    )
    .requiredOption(
      '--data <folder>',
      "images with masks in SA-1B's format, or a tar of them; the images of --annotations; BSDS500's images for edges",
      userPath,
    )
    .option('--against <model>', 'another SAM, measured beside it')
    .addOption(new Option('--protocol <name>', 'a protocol, into a results folder').choices([...protocols]))
    .option('--out <folder>', 'the results folder', userPath)
    .option('--annotations <json>', 'COCO or LVIS instances of the images', userPath)
    .option('--boxes <json>', "a detector's results, for instances; the annotations' boxes unless given", userPath)
    .option('--lvis', "LVIS's rules, for instances")
    .option('--clicks <n>', 'points of an object, for clicks', positiveInteger, 5)
    .option('--truth <folder>', "people's boundaries, for edges: NAME-1.png, NAME-2.png, … of NAME.jpg", userPath)
    .option('--convention <name>', 'of ONNX files, where their names do not tell')
    .option('--radius-from <folder>', "for 'disc': labelled images that its radius is chosen on", userPath)
    .option('--name <name>', "the model's name in reports; the file's unless given")
    .addOption(new Option('--shard <i/n>', 'every n-th image from the i-th').argParser(shard))
    .option('--skip-bad', 'leave bad records out, and count and list them')
    .option('--images-per-job <n>', 'with --store: images that a worker takes at once', positiveInteger, 16);
  onManyMachines(command);
  return common(command, 'slimsam evaluate slim.safetensors --data sa1b/test --against sam_vit_b_01ec64.pth').action(
    (source: string, { data, against, ...options }: Options) => {
      const { protocol, out } = options;
      if (protocol) {
        if (!out) throw new Error('evaluate: expected --out, a results folder, beside --protocol');
        if (against !== undefined)
          throw new Error("evaluate: expected one model with --protocol; run it for each, then 'slimsam-eval report'");
        const evaluate = byJobs(options) ? evaluateByJobs : evaluateByProtocol;
        return evaluate(source, { ...options, data, protocol, out }, signal);
      }
      if (byJobs(options)) throw new Error('evaluate: expected --protocol and --out beside --store');
      if (out) throw new Error(`evaluate: expected --protocol beside --out; one of ${protocols.join(', ')}`);
      return withBackend(options, signal, async (session) => {
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
      });
    },
  );
}
