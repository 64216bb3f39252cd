/**
 * Evaluates a SAM, ours or as two ONNX files, by a protocol into a results folder; run again to go on after a stop.
 *
 *     npx tsx --conditions=@slimsam/source examples/evaluate-sam.ts slim.safetensors --images test --out out/points
 *     … --protocol instances --images val2017 --annotations instances_val2017.json --out out/coco
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  type BadRecord,
  badRecordText,
  boxesByImage,
  type Protocol,
  readCocoImages,
  readDetections,
  readGroundTruth,
  readSa1b,
  readSa1bTar,
  runProtocol,
  type Segment,
} from '@slimsam/eval';
import { onnxConventions, openOnnx } from '@slimsam/eval/onnx';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { loadSam } from '@slimsam/vit';
import { resizeBilinear } from '@slimsam/vit/images';
import { Command, Option } from 'commander';
import { segmentWithSam } from 'slimsam';

const folderPath = (text: string) => path.resolve(text);

const command = new Command('evaluate-sam')
  .argument('<model>', 'a checkpoint, or a folder with encoder.onnx and decoder.onnx', folderPath)
  .requiredOption('--images <folder>', "of SA-1B pairs, a .tar of them, or of a COCO file's images", folderPath)
  .option('--annotations <json>', 'COCO or LVIS instances', folderPath)
  .option('--boxes <json>', "a detector's results; the annotations' boxes unless given", folderPath)
  .addOption(
    new Option('--protocol <name>')
      .choices(['points', 'clicks', 'boxes', 'best-of-three', 'instances'])
      .default('points'),
  )
  .option('--clicks <n>', 'of the protocol clicks', Number, 5)
  .option('--lvis', "LVIS's rules")
  .option('--name <name>', "the model's, in reports")
  .option('--shard <i/n>', 'every n-th image from the i-th', '1/1')
  .option('--skip-bad', 'leave bad records out and list them')
  .requiredOption('--out <folder>', 'the results folder', folderPath)
  .parse();
const [model] = command.processedArgs as [string];
const options = command.opts();
const bad: BadRecord[] = [];
const reading = options.skipBad ? { onBad: (record: BadRecord) => bad.push(record) } : {};

/** The model's function, a hash of its files, and how to let go of it. */
async function open(): Promise<{ segment: Segment; files: string[]; close: () => void }> {
  const files = ['encoder.onnx', 'decoder.onnx'].map((name) => path.join(model, name));
  if (await readFile(files[0]!).catch(() => undefined)) {
    const convention = onnxConventions['segment-anything'];
    const onnx = await openOnnx({ encoder: files[0]!, decoder: files[1]!, convention, resize: resizeBilinear });
    return { segment: onnx.segment, files, close: onnx.close };
  }
  const backend = await useWebgpu();
  const { segment } = segmentWithSam(await loadSam(model));
  return { segment, files: [model], close: () => backend.dispose() };
}

try {
  const groundTruth = options.annotations && (await readGroundTruth(options.annotations, reading));
  const boxes = options.boxes && (await readDetections(options.boxes, groundTruth, { ...reading, type: 'bbox' }));
  const images = groundTruth
    ? readCocoImages(options.images, groundTruth, reading)
    : (/[.]tar(.gz)?$/.test(options.images) ? readSa1bTar : readSa1b)(options.images, reading);
  const rules = options.lvis ? 'lvis' : 'coco';
  const protocol = {
    name: options.protocol,
    clicks: options.clicks,
    rules,
    ...(boxes && { boxes: boxesByImage(boxes) }),
  } as Protocol;
  const [part, parts] = options.shard.split('/').map(Number);
  const { segment, files, close } = await open();
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(file));
  const summary = await runProtocol({
    ...{ protocol, images, segment, bad, groundTruth, folder: options.out, shard: { part, parts } },
    model: { name: options.name ?? path.basename(model), weights: hash.digest('hex') },
    onImage: ({ done, record }) => console.error(`${done} ${record.name}`),
  });
  console.log(JSON.stringify(summary, null, 2));
  for (const record of bad) console.error(`skipped: ${badRecordText(record)}`);
  close();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
