/** Keeps a SAM as models/ has it, and draws its masks on labelled photographs: a trained one as frozen encoder and decoder, a slim one as one file. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { meanWeights } from '@slimsam/distill';
import { decodeRle, maskIou, readSa1b } from '@slimsam/eval';
import { type ReportOverlay, writeReport } from '@slimsam/eval/report';
import { createPredictor, decodeImage, loadSam, type Sam, saveSam } from '@slimsam/vit';
import { disposeWeights, saveWeights, type Weights, writeFileAtomic } from '@slimsam/weights';
import { Command } from 'commander';
import sharp from 'sharp';
import { openBackend, parse } from 'slimsam/node';

const {
  model: models,
  out,
  photographs,
  slim,
  backend,
} = new Command('model-card')
  .description('keeps a SAM in two files, or in one, F16, and draws masks of a point and a box on six photographs')
  .requiredOption(
    '--model <path...>',
    'the SAM, such as RUN/model.safetensors; of several runs their mean',
    parse.paths,
  )
  .requiredOption('--out <folder>', 'where it goes', parse.path)
  .option('--photographs <folder>', "in SA-1B's format", parse.path)
  .option('--slim', 'one file: its encoder was trained, too', false)
  .option('--backend <name>', 'what computes', 'webgpu')
  .parse()
  .opts<{ model: string[]; out: string; photographs?: string; slim: boolean; backend: string }>();

/** Writes encoder.safetensors (what training the decoder leaves as it is), decoder.safetensors, their index and the config. */
async function save(folder: string, { weights, config }: Sam): Promise<void> {
  await mkdir(folder, { recursive: true });
  const isFrozen = (name: string) => /^image_encoder\.(?!neck\.)/.test(name);
  const partOf = (frozen: boolean): Weights =>
    Object.fromEntries(Object.entries(weights).filter(([name]) => isFrozen(name) === frozen));
  for (const [name, frozen] of [['encoder', true] as const, ['decoder', false] as const])
    await saveWeights(join(folder, `${name}.safetensors`), partOf(frozen), { dtype: 'F16' });
  const places = Object.keys(weights).map((name) => [name, `${isFrozen(name) ? 'encoder' : 'decoder'}.safetensors`]);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  await writeFileAtomic(join(folder, 'config.json'), json(config));
  const index = { metadata: {}, weight_map: Object.fromEntries(places) };
  await writeFileAtomic(join(folder, 'model.safetensors.index.json'), json(index));
}

/** The largest object of every eighth photograph: what people drew, and the masks of its point and of its box. */
async function draw(folder: string, { weights, config }: Sam): Promise<void> {
  const overlays: ReportOverlay[] = [];
  const predictor = createPredictor(weights, config);
  let index = 0;
  for await (const { name, imagePath, annotations } of readSa1b(folder)) {
    if (index++ % 8 !== 0 || overlays.length === 6) continue;
    const { pointCoords, bbox, segmentation } = annotations.reduce((a, b) => (b.area > a.area ? b : a));
    const point = [...pointCoords[0]!] as [number, number];
    const [x, y, w, h] = bbox;
    const image = await decodeImage(imagePath);
    const truth = decodeRle(segmentation);
    const embedded = predictor.embed(image);
    const masks: ReportOverlay['masks'][number][] = [{ label: 'drawn by people', mask: truth, point }];
    for (const [label, prompts] of [
      ['point', { points: [[point]] }],
      ['box', { boxes: [[x, y, x + w, y + h]] as [number, number, number, number][] }],
    ] as const) {
      const found = await predictor.predict(embedded, prompts, { multimask: false });
      const mask = found.masks[0]![0]!;
      found.dispose();
      masks.push({ label: `${label} ${maskIou(mask, truth).toFixed(2)}`, mask, point });
    }
    embedded.dispose();
    overlays.push({ title: name, image, masks });
  }
  const drawn = join(out, 'drawn');
  const { pictures } = await writeReport({ folder: drawn, title: 'Masks', summary: '', overlays });
  const rows = await Promise.all(
    pictures.map((file) => sharp(file).resize({ width: 1100 }).toBuffer({ resolveWithObject: true })),
  );
  const height = rows.reduce((sum, { info }) => sum + info.height, 0);
  let top = 0;
  const placed = rows.map(({ data, info }) => {
    top += info.height;
    return { input: data, left: 0, top: top - info.height };
  });
  const sheet = sharp({ create: { width: 1100, height, channels: 3, background: '#ffffff' } }).composite(placed);
  await writeFileAtomic(join(out, 'overlays.jpg'), await sheet.jpeg({ quality: 76, mozjpeg: true }).toBuffer());
  await rm(drawn, { recursive: true });
}

const opened = await openBackend(backend);
try {
  const runs: Sam[] = [];
  for (const model of models) runs.push(await loadSam(model));
  const sam: Sam = { config: runs[0]!.config, weights: meanWeights(runs.map(({ weights }) => weights)) };
  for (const { weights } of runs) disposeWeights(weights);
  if (slim) {
    await mkdir(out, { recursive: true });
    await saveSam(join(out, 'model.safetensors'), sam, { dtype: 'F16' });
  } else await save(out, sam);
  if (photographs !== undefined) await draw(photographs, sam);
  disposeWeights(sam.weights);
  console.log(out);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  opened.close();
}
