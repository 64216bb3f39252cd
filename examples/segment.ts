/** Segments one object of a photograph: a point, or a box, gives the mask, drawn over the photograph. */
import path from 'node:path';
import { createPredictor, decodeImage, loadSam, overlayPng } from '@slimsam/vit';
import { makeFolder, writeFileAtomic } from '@slimsam/weights';
import { Command } from 'commander';
import { openBackend, parse } from 'slimsam/node';

const numbers = (text: string): number[] => text.split(',').map(Number);
const program = new Command('segment')
  .description('segments one object of a photograph')
  .argument('<photo>', 'a JPEG, PNG, WebP, TIFF, GIF or AVIF')
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--point <x,y>', 'a pixel of the object (default: the middle)', numbers)
  .option('--box <x0,y0,x1,y1>', 'a box around the object', numbers)
  .option('--out <file>', 'the PNG', parse.path, parse.path('out/segment.png'))
  .parse();
const { model, point, box, out } = program.opts<{ model: string; point?: number[]; box?: number[]; out: string }>();

const backend = await openBackend('webgpu');
try {
  const image = await decodeImage(program.args[0]!);
  const sam = await loadSam(model);
  const predictor = createPredictor(sam.weights, sam.config);
  const embedded = predictor.embed(image); // once a photograph; prompts are quick
  const points = box ? undefined : [point ?? [image.width / 2, image.height / 2]];
  const { masks, scores, dispose } = await predictor.predict(
    embedded,
    { ...(points && { points }), ...(box && { boxes: box }) },
    { multimask: !box, best: true }, // one point may mean a part or the whole: the best of three
  );
  const mask = masks[0]![0]!;
  await makeFolder(path.dirname(out));
  await writeFileAtomic(out, await overlayPng(image, [mask]));
  console.log(
    `${mask.reduce((sum, inside) => sum + inside, 0)} pixels, expected IoU ${scores[0]![0]!.toFixed(2)}: ${out}`,
  );
  dispose();
  embedded.dispose();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
