/**
 * Prunes heads and MLPs of a plain ViT by disturbed Taylor importance on a folder of images, aligns it with the original, and saves it.
 * `slimsam compress` does the whole recipe; here the steps are written out, since a recipe is data.
 */
import { countParameters } from '@slimsam/prune';
import { initVit, loadVit, parseVitConfig, saveVit, type Vit } from '@slimsam/vit';
import { Command, Option } from 'commander';
import { compress, type Recipe } from 'slimsam';
import { backends, openBackend, openPhotographs, output, parse, present } from 'slimsam/node';

const options = new Command('prune-vit')
  .description('prunes a ViT of timm or Hugging Face, a DINOv2 or a CLIP vision tower; its features keep their width')
  .requiredOption('--images <folder>', 'to prune and align on, without labels', parse.path)
  .option('--checkpoint <path>', 'a file or folder (default: a small ViT with random weights)', parse.path)
  .option('--ratio <share>', 'of the channels of heads and MLPs to remove', parse.ratio, 0.25)
  .option('--epochs <n>', 'of aligning', parse.positiveInteger, 4)
  .option('--out <file>', 'where the pruned ViT goes', parse.path, parse.path('vit-slim.safetensors'))
  .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
  .parse()
  .opts<{ images: string; checkpoint?: string; ratio: number; epochs: number; out: string; backend: string }>();
const { ratio, epochs } = options;

const recipe: Recipe = {
  name: 'heads and MLPs',
  steps: [
    { kind: 'prune', name: 'prune heads and MLPs', structure: 'bottleneck', ratio },
    {
      ...{ kind: 'align', name: 'align the stream', loss: 'embedding', epochs, learningRate: 1e-4, warmup: 4 },
      alpha: { schedule: 'constant', value: 0.5, until: epochs },
    },
  ],
};

const close: (() => unknown)[] = [];
try {
  close.push((await openBackend(options.backend)).close);
  const vit: Vit = options.checkpoint ? await loadVit(options.checkpoint) : smallVit();
  const photographs = await openPhotographs(options.images);
  close.unshift(() => photographs.close());
  const { result } = await present(output({ json: false }), compress(vit, { photographs, recipe }));
  const { model } = result;
  console.log(`${countParameters(vit.weights)} parameters -> ${countParameters(model.weights)}`);
  await saveVit(options.out, model);
  console.log(`saved: ${options.out}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  for (const end of close) await end();
}

function smallVit(): Vit {
  const config = parseVitConfig({ imageSize: [64, 64], heads: 3, headWidth: 16 });
  return { config, weights: initVit(config, { depth: 4, mlpWidth: 192, patchSize: 8 }, { seed: 1 }) };
}
