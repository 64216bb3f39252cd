import { Command, Option } from 'commander';
import { backends } from './backend.ts';
import { folderPath, positiveInteger, pruningRatio } from './options.ts';

/** What the command line of prune-vit says. */
export interface PruneVitOptions {
  readonly images: string;
  readonly checkpoint?: string;
  readonly ratio: number;
  readonly epochs: number;
  readonly out: string;
  readonly backend: string;
}

/** Parses the command line; a wrong option ends the process with one line that names it. */
export function pruneVitOptions(): PruneVitOptions {
  return new Command('prune-vit')
    .description('prunes a ViT of timm or Hugging Face, a DINOv2 or a CLIP vision tower; its features keep their width')
    .requiredOption('--images <folder>', 'to prune and align on, without labels', folderPath)
    .option('--checkpoint <path>', 'a file or folder (default: a small ViT with random weights)', folderPath)
    .option('--ratio <share>', 'of the channels of heads and MLPs to remove', pruningRatio, 0.25)
    .option('--epochs <n>', 'of aligning', positiveInteger, 4)
    .option('--out <file>', 'where the pruned ViT goes', folderPath, folderPath('vit-slim.safetensors'))
    .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
    .parse()
    .opts<PruneVitOptions>();
}
