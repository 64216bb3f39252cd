import path from 'node:path';
import { meanWeights } from '@slimsam/distill';
import { loadVit, type SamConfig, samFromVit, withAxisFrequencies, withSideHeads } from '@slimsam/vit';
import { disposeWeights, loadWeights, type Weights } from '@slimsam/weights';
import { Command, InvalidArgumentError, Option } from 'commander';
import { loadOnlySam } from '../../models/load-model.ts';
import { viewComposer } from '../../training/compose-views.ts';
import { readLabelled } from '../../training/labelled-photographs.ts';
import { streamFolder } from '../../training/stream-cache.ts';
import { trainRun } from '../../training/train-run.ts';
import type { TrainSamOptions } from '../../training/train-sam.ts';
import {
  type CommonOptions,
  common,
  inRunFolder,
  naturalNumber,
  positiveInteger,
  positiveNumber,
  probability,
  type RunFolderOptions,
  userPath,
  userPaths,
} from '../options.ts';
import { type Session, withBackend } from '../with-backend.ts';

type Training = Pick<
  TrainSamOptions,
  'stage' | 'steps' | 'rate' | 'warmup' | 'batch' | 'prompts' | 'boxes' | 'fill' | 'chunk' | 'passes' | 'chunks'
>;

interface Options extends CommonOptions, RunFolderOptions, Training {
  readonly sam?: string;
  readonly vit?: string;
  readonly start?: readonly string[];
  readonly images: readonly { readonly folder: string; readonly share: number }[];
  readonly size: number;
  readonly width: number;
  readonly pasted: number;
  readonly scenes: number;
  readonly threads: number;
  readonly minutes?: number;
  readonly pause?: number;
  readonly every: number;
  readonly axes?: number;
  readonly sides?: boolean;
  readonly cache: boolean;
}

/** `slimsam train --vit MODEL --images DIR`: a SAM on a plain ViT, in a run folder that can go on. */
export function trainCommand(signal: AbortSignal): Command {
  const command = new Command('train')
    .description('trains a SAM on a plain ViT, with photographs and masks: its decoder, then the whole')
    .addOption(new Option('--vit <model>', 'a plain ViT, such as DINOv2, that becomes the encoder').conflicts('sam'))
    .option('--sam <model>', 'a SAM to go on with')
    .option(
      '--start <file...>',
      'weights that replace those of the same names, such as a trained decoder; of several their mean',
      userPaths,
    )
    .option(
      '--axes <n>',
      "so many of a trained decoder's position frequencies begin anew along the axes, by which boxes are told",
      positiveInteger,
    )
    .option('--sides', 'heads of a trained decoder begin anew by which a place knows on which side of an edge it is')
    .requiredOption(
      '--images <folder[:share]...>',
      "photographs in SA-1B's format, and how often each is taken",
      sources,
    )
    .addOption(
      new Option('--stage <name>', 'what is trained').choices(['masks', 'decoder', 'whole']).default('decoder'),
    )
    .option('--size <pixels>', 'of the square that the ViT reads', positiveInteger, 448)
    .option('--width <n>', 'of the embedding and the decoder, a multiple of 32', positiveInteger, 128)
    .option('--steps <n>', 'optimizer steps', positiveInteger, 2000)
    .option('--rate <number>', 'the highest learning rate', positiveNumber, 1e-3)
    .option('--warmup <n>', 'steps until it', naturalNumber, 60)
    .option('--batch <n>', 'views a step', positiveInteger, 4)
    .option('--prompts <n>', 'prompts a view', positiveInteger, 12)
    .option('--boxes <share>', 'of the prompts of every other step', probability, 0.55)
    .option('--fill <n>', 'first steps in which a box asks for all that is within it (default: 0)', naturalNumber)
    .option('--chunk <n>', 'views that are made at once', positiveInteger, 128)
    .option('--passes <n>', 'how often each view is used in its chunk', positiveInteger, 4)
    .option('--chunks <n>', 'chunks until the views begin anew (default: all are new)', positiveInteger)
    .option('--pasted <n>', 'objects pasted onto a photograph, at most', naturalNumber, 5)
    .option('--scenes <share>', 'of the views that are synthetic scenes', share, 0)
    .option('--threads <n>', 'that make views; 0: this one', naturalNumber, 1)
    .option('--minutes <n>', 'of training in all: the learning rate comes to 0 by then', positiveNumber)
    .option('--pause <n>', 'stops after so many minutes of this call, with its state written', positiveNumber)
    .option('--every <n>', 'steps between checkpoints, a multiple of 8', positiveInteger, 200)
    .option('--cache', 'keeps what the frozen encoder computed, for --chunks that come again', false);
  inRunFolder(command, { validate: 'mIoU at every checkpoint', seed: 'of weights, views and order', run: 'sam-run' });
  return common(
    command,
    'slimsam train --vit dinov2-small --images sa1b/train --validate sa1b/val --run out/sam',
  ).action((options: Options) => withBackend(options, signal, (session) => run(session, options)));
}

async function run(session: Session, options: Options): Promise<void> {
  const { signal, adapter } = session;
  const {
    images,
    validate,
    minutes,
    pause,
    threads,
    every,
    cache,
    run: folder,
    json: _,
    backend: __,
    ...rest
  } = options;
  const facts = { ...rest, images };
  const { axes, sides, seed } = options;
  const sam = await startOf(options);
  if (axes !== undefined) sam.weights = await withAxisFrequencies(sam.weights, { count: axes, seed });
  if (sides) sam.weights = await withSideHeads(sam.weights, { heads: sam.config.decoderHeads });
  const { imageSize, patchSize, pixelMean, pixelStd } = sam.config;
  const read = images.map(async ({ folder, share }) => ({
    photographs: await readLabelled(folder, { side: imageSize, signal }),
    share,
  }));
  const view = { side: imageSize, cells: (4 * imageSize) / patchSize, objects: 8, pixelMean, pixelStd };
  const { pasted, scenes } = options;
  const composer = viewComposer(
    { sources: await Promise.all(read), options: { ...view, pasted, scenes }, seed },
    { threads },
  );
  const bar = session.bar('train', options.steps);
  let last: object = {};
  try {
    for await (const event of trainRun(sam, {
      ...rest,
      ...(minutes !== undefined && { minutes }),
      ...(pause !== undefined && { pause }),
      ...{ composer, folder, facts, adapter, every, validate, signal },
      cache: cache ? streamFolder(path.join(folder, 'streams'), facts) : undefined,
    })) {
      if (event.type === 'step') bar.update(event.step, `loss ${event.loss.toFixed(3)}`);
      else {
        last = event;
        session.note(
          `step ${event.step}  loss ${event.loss.toFixed(3)}  ${
            event.point === undefined ? '' : `mIoU ${event.point.toFixed(3)} point, ${event.box!.toFixed(3)} box`
          }  ${Math.round(event.seconds)} s`,
        );
      }
    }
  } finally {
    bar.stop();
    await composer.close();
  }
  session.result(`${path.join(folder, 'model.safetensors')}`, { ...last, adapter, folder });
}

async function startOf({
  sam,
  vit,
  start,
  size,
  width,
  seed,
  stage,
  ...options
}: Options): Promise<{ weights: Weights; config: SamConfig }> {
  if ((sam === undefined) === (vit === undefined))
    throw new Error(`train: expected --vit or --sam, got ${sam ? 'both' : 'neither'}`);
  const given =
    sam !== undefined
      ? await loadOnlySam(sam, options)
      : samFromVit(await loadVit(vit!), { imageSize: size, promptWidth: width, decoderHeads: width / 32, seed });
  const files = await Promise.all((start ?? []).map((file) => loadWeights(file)));
  const weights = files.length > 0 ? meanWeights(files.map(({ weights }) => weights)) : {};
  for (const file of files) disposeWeights(file.weights);
  const untrained = Object.keys(given.weights).find((name) => name.startsWith('image_encoder.neck.') && !weights[name]);
  if (stage === 'masks' && vit !== undefined && untrained)
    throw new Error(
      `--stage masks: expected a --start with the neck that stays as it is, got no '${untrained}'; train it with --stage decoder first`,
    );
  for (const [name, weight] of Object.entries(weights)) {
    const expected = given.weights[name]?.shape;
    if (expected?.join() !== weight.shape.join())
      throw new Error(
        `--start: expected '${name}' [${expected ?? 'none'}], got [${weight.shape}]; take that model's sizes`,
      );
  }
  return { weights: { ...given.weights, ...weights }, config: given.config };
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0)) throw new InvalidArgumentError('expected a number, 0 or more.');
  return value;
}

function sources(text: string, before: { folder: string; share: number }[] = []): { folder: string; share: number }[] {
  const [, folder, given] = /^(.*?)(?::([\d.]+))?$/.exec(text)!;
  return [...before, { folder: userPath(folder!), share: share(given ?? '1') }];
}
