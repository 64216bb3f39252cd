import { createPredictor, decodeImage, labelMap, segmentEverything } from '@slimsam/vit';
import { writeFileAtomic } from '@slimsam/weights';
import { Command } from 'commander';
import sharp from 'sharp';
import { loadOnlySam } from '../../models/load-model.ts';
import { type CommonOptions, common, numbers, repeated, userPath } from '../options.ts';
import { withBackend } from '../with-backend.ts';

interface Options extends CommonOptions {
  readonly model: string;
  readonly point?: number[][];
  readonly background?: number[][];
  readonly box?: number[];
  readonly everything?: boolean;
  readonly out: string;
}

/** `slimsam segment PHOTO`: a mask for a prompt, or masks of everything, as a PNG. */
export function segmentCommand(signal: AbortSignal): Command {
  const command = new Command('segment')
    .description('segments a photograph: the mask of a prompt, or masks of everything, as a PNG')
    .argument('<photo>', 'a JPEG, PNG, WebP, TIFF, GIF or AVIF')
    .requiredOption('--model <model>', 'a file, folder, address or Hub id of a SAM')
    .option('--point <x,y>', 'a pixel of the object; may be repeated', repeated(numbers(2)))
    .option('--background <x,y>', 'a pixel outside of the object; may be repeated', repeated(numbers(2)))
    .option('--box <x0,y0,x1,y1>', 'a box around the object, pixels', numbers(4))
    .option('--everything', 'all that is found, each in a colour of its own')
    .requiredOption('--out <file>', 'the PNG', userPath);
  return common(command, 'slimsam segment cat.jpg --model slim.safetensors --point 320,200 --out mask.png').action(
    (photo: string, { model, point = [], background = [], box, everything, out, ...options }: Options) => {
      const prompted = point.length + background.length > 0 || box !== undefined;
      if (prompted === (everything === true))
        throw new Error('segment: expected --point, --background or --box, or else --everything; give one of the two');
      return withBackend(options, signal, async (session) => {
        const image = await decodeImage(userPath(photo));
        const { weights, config } = await loadOnlySam(model, options);
        const { width, height } = image;
        if (everything) {
          const bar = session.bar('segment everything', 1024);
          const onProgress = ({ done }: { done: number }) => bar.update(done);
          const masks = await segmentEverything(weights, config, image, { signal, onProgress }).finally(() =>
            bar.stop(),
          );
          await writePng(out, { width, height, pixels: coloured(labelMap(masks, image)), channels: 3 });
          const found = masks.map(({ area, bbox, predictedIou }) => ({ area, bbox, predictedIou }));
          session.result(`${masks.length} masks: ${out}`, { out, width, height, masks: found });
          return;
        }
        const predictor = createPredictor(weights, config);
        const embedded = predictor.embed(image);
        const points = [...point, ...background];
        const labels = [...point.map(() => 1), ...background.map(() => 0)];
        const prompts = { ...(points.length > 0 && { points, labels }), ...(box && { boxes: box }) };
        const multimask = points.length === 1 && !box; // one point may mean a part or the whole: the best of three
        const { masks, scores } = await predictor.predict(embedded, prompts, { multimask, best: true, signal });
        const mask = masks[0]![0]!;
        await writePng(out, { width, height, pixels: mask.map((inside) => 255 * inside), channels: 1 });
        const area = mask.reduce((sum, inside) => sum + inside, 0);
        const score = scores[0]![0]!;
        session.result(`${area} pixels, predicted IoU ${score.toFixed(2)}: ${out}`, {
          out,
          width,
          height,
          area,
          score,
        });
      });
    },
  );
}

async function writePng(
  file: string,
  { width, height, pixels, channels }: { width: number; height: number; pixels: Uint8Array; channels: 1 | 3 },
): Promise<void> {
  const image = sharp(pixels, { raw: { width, height, channels } }).toColourspace(channels === 1 ? 'b-w' : 'srgb');
  await writeFileAtomic(file, await image.png().toBuffer());
}

/** Black where there is no mask; colours that are far from their neighbours'. [height * width] -> [height * width * 3] */
function coloured(labels: ArrayLike<number>): Uint8Array {
  const pixels = new Uint8Array(3 * labels.length);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (label === 0) continue;
    for (let c = 0; c < 3; c++) pixels[3 * i + c] = 55 + ((label * [97, 57, 151][c]! + c * 83) % 200);
  }
  return pixels;
}
