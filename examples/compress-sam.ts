/** Compresses a SAM on photographs without labels, in a run folder that can go on after a stop. */
import { loadSam, saveSam } from '@slimsam/vit';
import { Command } from 'commander';
import { compress, slimSam } from 'slimsam';
import { openBackend, openPhotographs, openRun, output, parse, present, stopSignal } from 'slimsam/node';

const options = new Command('compress-sam')
  .description('prunes a SAM and distils it back, on photographs without labels')
  .requiredOption('--images <folder>', 'to score and train on', parse.path)
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--ratio <share>', 'of the channels to remove', parse.ratio, 0.5)
  .option('--epochs <n>', 'of each of the two stages', parse.positiveInteger, 4)
  .option('--rate <number>', 'learning rate; it falls to 0 along a cosine', Number, 1e-3)
  .option('--run <folder>', 'where the run is kept', parse.path, parse.path('out/compress-sam'))
  .parse()
  .opts<{ images: string; model: string; ratio: number; epochs: number; rate: number; run: string }>();
const { ratio, epochs, rate } = options;

const backend = await openBackend('webgpu');
try {
  const sam = await loadSam(options.model);
  const photographs = await openPhotographs(options.images);
  const run = await openRun(options.run); // the same command goes on where it was
  const recipe = slimSam({ ratio, epochs, learningRate: rate, decay: 'cosine' });
  const signal = stopSignal();
  const { result } = await present(output({ json: false }), compress(sam, { photographs, recipe, run, signal }));
  await saveSam(`${options.run}/slim.safetensors`, result.model);
  console.log(`saved: ${options.run}/slim.safetensors`);
  await Promise.all([run.close(), photographs.close()]);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
