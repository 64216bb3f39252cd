/** The same model on TensorFlow's own C library: every package takes any TensorFlow.js backend. */
import { createPredictor, loadSam } from '@slimsam/vit';
import { Command, Option } from 'commander';
import { openBackend, parse } from 'slimsam/node';

const options = new Command('tfjs-node')
  .description(
    'segments on tfjs-node, where it is installed (npm install @tensorflow/tfjs-node), or on another backend',
  )
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .addOption(
    new Option('--backend <name>').choices(['tfjs-node', 'tfjs-node-gpu', 'cpu', 'webgpu']).default('tfjs-node'),
  )
  .parse()
  .opts<{ model: string; backend: string }>();

try {
  const { adapter, close } = await openBackend(options.backend);
  const { weights, config } = await loadSam(options.model);
  const predictor = createPredictor(weights, config);
  const image = {
    width: 64,
    height: 64,
    data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i % 192 < 96 ? 40 : 200)),
  };
  const start = performance.now();
  const embedded = predictor.embed(image);
  const { masks, scores } = await predictor.predict(embedded, { points: [[48, 32]] });
  const area = masks[0]!.map((mask) => mask.reduce((sum, inside) => sum + inside, 0));
  console.log(
    `${adapter}: masks of ${area.join(', ')} pixels, expected IoU ${scores[0]!.map((s) => s.toFixed(3)).join(', ')}, ${(performance.now() - start).toFixed(0)} ms`,
  );
  close();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
