import { Command, Option } from 'commander';
import { backends } from './backend.ts';
import { folderPath, positiveInteger, pruningRatio, seedNumber } from './options.ts';

/** What the command line of the quickstart says. */
export interface QuickstartOptions {
  readonly images?: string;
  readonly ratio: number;
  readonly epochs: number;
  readonly tests: number;
  readonly backend: string;
  readonly seed: number;
  readonly out: string;
  readonly strict: boolean;
}

/** Parses the command line; a wrong option ends the process with one line that names it. */
export function quickstartOptions(): QuickstartOptions {
  return new Command('quickstart')
    .description('compresses a small SAM by the SlimSAM recipe')
    .option(
      '--images <folder>',
      'JPEG files to train on, without labels (default: synthetic scenes are made)',
      folderPath,
    )
    .option('--ratio <share>', 'of the channels to remove', pruningRatio, 0.5)
    .option('--epochs <n>', 'of each stage', positiveInteger, 8)
    .option('--tests <n>', 'scenes to evaluate on', positiveInteger, 40)
    .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
    .option('--seed <n>', 'of scenes, noise and order', seedNumber, 1)
    .option('--out <folder>', 'where the results go', folderPath, folderPath('out/quickstart'))
    .option('--strict', 'an image that cannot be decoded is an error', false)
    .parse()
    .opts<QuickstartOptions>();
}
