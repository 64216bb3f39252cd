import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type ExportOnnxOptions, exportOnnx } from '@slimsam/vit/onnx';
import { Command, Option } from 'commander';
import { loadOnlySam } from '../../models/load-model.ts';
import { type CommonOptions, common, userPath } from '../options.ts';
import { withBackend } from '../with-backend.ts';

interface Options extends CommonOptions, Pick<ExportOnnxOptions, 'convention' | 'dtype' | 'singleMask'> {
  readonly onnx: string;
}

/** `slimsam export MODEL --onnx DIR`: two ONNX models of a SAM. */
export function exportCommand(signal: AbortSignal): Command {
  const command = new Command('export')
    .description('writes a SAM, pruned or not, as ONNX models')
    .argument('<model>', 'a file, folder, address or Hub id of a SAM')
    .requiredOption('--onnx <folder>', 'where the models go', userPath)
    .addOption(
      new Option('--convention <name>', 'of inputs, outputs and file names')
        .choices(['segment-anything', 'transformers.js'])
        .default('segment-anything'),
    )
    .addOption(new Option('--dtype <type>', 'of weights and activations').choices(['F32', 'F16']).default('F32'))
    .option('--single-mask', 'one mask for each prompt (segment-anything only)');
  return common(
    command,
    'slimsam export slim.safetensors --onnx out/onnx --convention transformers.js --dtype F16',
  ).action((source: string, { onnx, backend, json, decoderHeads, ...options }: Options) =>
    // the weights are only held
    withBackend({ backend: backend === 'webgpu' ? 'cpu' : backend, json }, signal, async (session) => {
      const files = await exportOnnx(
        onnx,
        await loadOnlySam(source, decoderHeads === undefined ? {} : { decoderHeads }),
        options,
      );
      const sizes = await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size })));
      const line = ({ file, bytes }: { file: string; bytes: number }) =>
        `${path.relative(onnx, file).padEnd(44)} ${(bytes / 1e6).toFixed(1).padStart(8)} MB`;
      session.result(sizes.map(line).join('\n'), { files: sizes });
    }),
  );
}
