/**
 * Exports a SAM, pruned or not, to ONNX: for onnxruntime as segment-anything does, or as a folder for transformers.js.
 *
 *     npx tsx --conditions=@slimsam/source examples/export-onnx.ts slim.safetensors out/onnx --convention transformers.js --dtype F16
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { loadSam } from '@slimsam/vit';
import { type ExportOnnxOptions, exportOnnx } from '@slimsam/vit/onnx';
import { disposeWeights } from '@slimsam/weights';
import { Command, Option } from 'commander';
import { openBackend } from './backend.ts';
import { folderPath, positiveInteger } from './options.ts';

interface Options extends Pick<ExportOnnxOptions, 'convention' | 'dtype' | 'singleMask'> {
  readonly decoderHeads?: number;
}

const command = new Command('export-onnx')
  .description('exports a SAM to two ONNX models')
  .argument('<checkpoint>', 'a file, folder or address that loadSam reads')
  .argument('<folder>', 'where the models go', folderPath)
  .addOption(
    new Option('--convention <name>', 'of inputs, outputs and file names')
      .choices(['segment-anything', 'transformers.js'])
      .default('segment-anything'),
  )
  .addOption(new Option('--dtype <type>', 'of weights and activations').choices(['F32', 'F16']).default('F32'))
  .option('--single-mask', 'one mask for each prompt (segment-anything only)')
  .option('--decoder-heads <n>', 'where the file does not say and it is not 8', positiveInteger)
  .parse();
const [checkpoint, folder] = command.processedArgs as [string, string];
const { decoderHeads, ...options } = command.opts<Options>();

let close = () => {};
try {
  ({ close } = await openBackend('cpu')); // which only holds the weights
  const source = /^https?:/.test(checkpoint) ? checkpoint : folderPath(checkpoint);
  const { weights, config } = await loadSam(source, decoderHeads ? { config: { decoderHeads } } : {});
  for (const file of await exportOnnx(folder, { weights, config }, options)) {
    const { size } = await stat(file);
    console.log(`${path.relative(folder, file).padEnd(44)} ${(size / 1e6).toFixed(1).padStart(8)} MB`);
  }
  disposeWeights(weights);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  close();
}
