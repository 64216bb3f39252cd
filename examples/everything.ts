/** Segments everything in a photograph, and draws each mask in a colour. */
import path from 'node:path';
import { decodeImage, loadSam, overlayPng, segmentEverything } from '@slimsam/vit';
import { makeFolder, writeFileAtomic } from '@slimsam/weights';
import { Command } from 'commander';
import { openBackend, output, parse } from 'slimsam/node';

const program = new Command('everything')
  .description('draws all masks that a SAM finds in a photograph')
  .argument('<photo>', 'a JPEG, PNG, WebP, TIFF, GIF or AVIF')
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--side <n>', 'points along each side of the grid', parse.positiveInteger, 16)
  .option('--iou <share>', 'masks that the model expects to be better stay', Number, 0.7)
  .option('--out <file>', 'the PNG', parse.path, parse.path('out/everything.png'))
  .parse();
const { model, side, iou, out } = program.opts<{ model: string; side: number; iou: number; out: string }>();

const backend = await openBackend('webgpu');
const bar = output({ json: false }).bar('points', side * side);
try {
  const image = await decodeImage(program.args[0]!);
  const { weights, config } = await loadSam(model);
  const masks = await segmentEverything(weights, config, image, {
    ...{ pointsPerSide: side, predIouThresh: iou, stabilityScoreThresh: 0.85 },
    onProgress: ({ done }) => bar.update(done),
  });
  const largestFirst = masks.sort((a, b) => b.area - a.area).map(({ segmentation }) => segmentation);
  await makeFolder(path.dirname(out));
  await writeFileAtomic(out, await overlayPng(image, largestFirst, { opacity: 0.6 }));
  console.log(`${masks.length} masks: ${out}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  bar.stop();
  backend.close();
}
