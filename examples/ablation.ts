/** Which criterion finds the channels that may go? Each prunes the same SAM by the same share, without training. */
import { readSa1b } from '@slimsam/eval';
import { generateScenes } from '@slimsam/scenes';
import { loadSam } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import Table from 'cli-table3';
import { Command } from 'commander';
import { compress, evaluateSam, type PruneStep } from 'slimsam';
import { openBackend, openPhotographs, parse } from 'slimsam/node';

const options = new Command('ablation')
  .description('mIoU after pruning heads and MLPs by each criterion; `slimsam ablate` has whole grids, with training')
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--ratio <share>', 'of the channels to remove', parse.ratio, 0.5)
  .option('--scenes <n>', 'drawn scenes to score on, and as many to test on', parse.positiveInteger, 16)
  .option('--out <folder>', 'where the scenes go', parse.path, parse.path('out/ablation'))
  .parse()
  .opts<{ model: string; ratio: number; scenes: number; out: string }>();
const { ratio, scenes, out } = options;

const backend = await openBackend('webgpu');
try {
  await generateScenes({ folder: `${out}/images`, count: scenes, seed: 11 });
  await generateScenes({ folder: `${out}/test`, count: scenes, seed: 12 });
  const sam = await loadSam(options.model);
  const photographs = await openPhotographs(`${out}/images`);
  const quality = async (model: typeof sam) =>
    (await evaluateSam(model, readSa1b(`${out}/test`), { latency: false })).miou!.toFixed(4);
  const style = { head: [], border: [] }; // no colours, which would go into files too
  const table = new Table({ head: ['criterion', 'mIoU, one point'], style });
  table.push(['the original', await quality(sam)]);
  for (const criterion of ['random', 'magnitude', 'taylor'] as const) {
    const step: PruneStep = { kind: 'prune', name: criterion, structure: 'bottleneck', ratio, criterion };
    const recipe = { name: criterion, steps: [step] };
    for await (const event of compress(sam, { photographs, recipe, held: 0 })) {
      if (event.type !== 'done') continue;
      table.push([criterion, await quality({ ...sam, ...event.result.model })]);
      disposeWeights(event.result.model.weights);
    }
  }
  console.log(table.toString());
  await photographs.close();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
