/** Evaluates a SAM on labelled images: the paper's mIoU with one point, and COCO's average precision with boxes as prompts. */
import { readSa1b, runProtocol } from '@slimsam/eval';
import { generateScenes } from '@slimsam/scenes';
import { loadSam } from '@slimsam/vit';
import { Command } from 'commander';
import { hashWeights, segmentWithSam } from 'slimsam';
import { openBackend, parse } from 'slimsam/node';

const options = new Command('evaluate')
  .description('mIoU with one point, and AP with boxes, of a SAM')
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--data <folder>', "images with masks in SA-1B's format (default: scenes are drawn)", parse.path)
  .option('--scenes <n>', 'scenes to draw where there is no --data', parse.positiveInteger, 8)
  .option('--out <folder>', 'results; run again, it goes on', parse.path, parse.path('out/evaluate'))
  .parse()
  .opts<{ model: string; data?: string; scenes: number; out: string }>();

const backend = await openBackend('webgpu');
try {
  const data = options.data ?? `${options.out}/scenes`;
  if (!options.data) await generateScenes({ folder: data, count: options.scenes, seed: 7 });
  const sam = await loadSam(options.model);
  const model = { name: 'model', weights: await hashWeights(sam.weights) };
  const { segment, dispose } = segmentWithSam(sam);
  const common = { segment, model };
  const points = await runProtocol({
    ...{ ...common, protocol: { name: 'points' }, images: readSa1b(data), folder: `${options.out}/points` },
  });
  console.log(`mIoU with one point: ${points.miou!.toFixed(4)} on ${points.images} images`);
  const boxes = await runProtocol({
    ...{ ...common, images: readSa1b(data), folder: `${options.out}/boxes` },
    protocol: { name: 'instances', rules: 'coco' },
  });
  const { AP, AP50, APsmall } = boxes.stats!;
  console.log(
    `AP with boxes as prompts: ${AP!.toFixed(3)}, at IoU 0.5 ${AP50!.toFixed(3)}, of small objects ${APsmall!.toFixed(3)}`,
  );
  dispose();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
