/** Compares two SAMs mask by mask on the same labelled images: the difference of their mIoU and its interval. */
import { compareResults, readResults, readSa1b, runProtocol } from '@slimsam/eval';
import { generateScenes } from '@slimsam/scenes';
import { loadSam } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import { Command } from 'commander';
import { hashWeights, segmentWithSam } from 'slimsam';
import { openBackend, parse } from 'slimsam/node';

const options = new Command('compare')
  .description('the difference of two models, paired by mask, with a bootstrap interval')
  .option('--first <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--second <path>', 'another', parse.path, parse.path('apps/page/models/slim.safetensors'))
  .option('--data <folder>', "images with masks in SA-1B's format (default: scenes are drawn)", parse.path)
  .option('--scenes <n>', 'scenes to draw where there is no --data', parse.positiveInteger, 8)
  .option('--out <folder>', 'results', parse.path, parse.path('out/compare'))
  .parse()
  .opts<{ first: string; second: string; data?: string; scenes: number; out: string }>();

const backend = await openBackend('webgpu');
try {
  const data = options.data ?? `${options.out}/scenes`;
  if (!options.data) await generateScenes({ folder: data, count: options.scenes, seed: 7 });
  const names = ['first', 'second'] as const;
  for (const name of names) {
    const sam = await loadSam(options[name]);
    const { segment, dispose } = segmentWithSam(sam);
    const { miou } = await runProtocol({
      ...{ protocol: { name: 'points' }, images: readSa1b(data), segment, folder: `${options.out}/${name}` },
      model: { name, weights: await hashWeights(sam.weights) },
    });
    console.log(`${name}: mIoU ${miou!.toFixed(4)}  ${options[name]}`);
    dispose();
    disposeWeights(sam.weights);
  }
  const [first, second] = await Promise.all(names.map((name) => readResults(`${options.out}/${name}`)));
  const { difference, interval, better, masks } = compareResults(first!, second!);
  const [low, high] = interval.map((value) => value.toFixed(4));
  console.log(
    `second - first: ${difference.toFixed(4)}, 95 % within ${low} to ${high}; better on ${(100 * better).toFixed(0)} % of ${masks} masks`,
  );
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
