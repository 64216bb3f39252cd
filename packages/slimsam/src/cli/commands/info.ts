import { countMacs, countParameters } from '@slimsam/prune';
import { Command } from 'commander';
import { estimateMemory } from '../../memory/estimate.ts';
import { loadModel } from '../../models/load-model.ts';
import { isSam, networkOf } from '../../models/network.ts';
import { slimSam } from '../../recipe/makers.ts';
import { type CommonOptions, common } from '../options.ts';
import { bytes, digits, table } from '../output.ts';
import { withBackend } from '../with-backend.ts';

/** `slimsam info MODEL`: what a model is. */
export function infoCommand(signal: AbortSignal): Command {
  const command = new Command('info')
    .description('tells what a model is: kind, sizes, parameters, MACs')
    .argument('<model>', 'a file, folder, address or Hub id of a SAM or a plain ViT');
  return common(command, 'slimsam info sam_vit_b_01ec64.pth').action((source: string, options: CommonOptions) =>
    // the weights are only looked at
    withBackend(
      { ...options, backend: options.backend === 'webgpu' ? 'cpu' : options.backend },
      signal,
      async (session) => {
        const model = await loadModel(source, options);
        const network = networkOf(model);
        const { weights, config } = model;
        const taps = network.taps(weights);
        const recipe = slimSam({ ratio: 0.5 });
        const memory = await estimateMemory(model, { recipe, batch: 4 });
        const least = await estimateMemory(model, { recipe, batch: 1, recompute: true });
        const { macs, macsWithAttention } = countMacs(weights, network.costs(weights));
        const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => network.isEncoder(name)));
        const stem = weights[isSam(model) ? 'image_encoder.patch_embed.proj.weight' : 'patch_embed.proj.weight']!;
        const facts = {
          kind: isSam(model) ? 'SAM' : 'plain ViT',
          imageSize: network.size,
          blocks: taps.bottleneck.mlpHidden.length,
          width: stem.shape[0]!,
          heads: config.heads,
          headWidth: config.headWidth,
          parameters: countParameters(weights),
          encoderParameters: countParameters(encoder),
          macs,
          macsWithAttention,
          bytes: 4 * countParameters(weights),
          // stage 1: half of the encoder with two moments and its best, that best as a model, and the model of the step before
          compressing: { memory: memory.bytes, leastMemory: least.bytes, disk: 4 * 4 * countParameters(weights) },
        };
        const rows = [
          ['kind', facts.kind],
          ['image, pixels', digits(facts.imageSize)],
          ['blocks, width', `${facts.blocks}, ${facts.width}`],
          ['heads, width of a head before pruning', `${facts.heads}, ${facts.headWidth}`],
          ['parameters', digits(facts.parameters)],
          ['parameters of the image encoder', digits(facts.encoderParameters)],
          ['MACs of the image encoder, G', digits(macs / 1e9)],
          ['with the products of attention, G', digits(macsWithAttention / 1e9)],
          ['weights in float32', bytes(facts.bytes)],
          ['memory to compress it by 50 %, batches of 4', bytes(memory.bytes)],
          ['the same, batches of 1 with --recompute', bytes(least.bytes)],
          ['disk of such a run, at most', bytes(facts.compressing.disk)],
        ];
        session.result(table(['', source], rows), facts);
      },
    ),
  );
}
