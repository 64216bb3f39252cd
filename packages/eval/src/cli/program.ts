import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { mergeResults } from '../protocols/merge-results.ts';
import { coco } from './coco.ts';
import { miou } from './miou.ts';
import { type ReportCommand, report } from './report.ts';

const faults = ['headline-detections', 'id-zero', 'ignore-field'];

function numbers(text: string): number[] {
  const list = text.split(',').map(Number);
  if (list.every((value) => Number.isInteger(value) && value > 0)) return list;
  throw new InvalidArgumentError(`expected whole numbers such as 1,10,100, got '${text}'`);
}

/** Adds 'NAME=24.1' to what there is. */
function latencies(text: string, before: ReadonlyMap<string, number> = new Map()): Map<string, number> {
  const [, name = '', value = ''] = /^(.+)=([\d.]+)$/.exec(text) ?? [];
  if (Number(value) > 0) return new Map([...before, [name, Number(value)]]);
  throw new InvalidArgumentError(`expected a model's name and milliseconds such as slim=24.1, got '${text}'`);
}

const json = () => new Option('--json', 'print JSON');
const skipBad = () => new Option('--skip-bad', 'leave bad records out, and count and list them');
/**
 * Runs the command line `slimsam-eval`. What goes wrong is one line on stderr.
 *
 * @param words what follows the program's name
 * @returns the process's exit code
 */
export async function runProgram(words: readonly string[]): Promise<number> {
  try {
    await programOf((text) => void process.stdout.write(`${text}\n`)).parseAsync([...words], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode; // it has said why
    process.stderr.write(`slimsam-eval: ${error instanceof Error ? error.message : error}\n`);
    return 1;
  }
}

/** The commands and their options. */
export function programOf(print: (text: string) => void): Command {
  const program = new Command('slimsam-eval')
    .exitOverride()
    .description('Evaluates masks and boxes that are in files.')
    .showHelpAfterError();

  program
    .command('coco')
    .description("COCO's or LVIS's average precision and recall, as pycocotools and lvis give them")
    .argument('<ground-truth.json>', 'COCO or LVIS instances file')
    .argument('<detections.json>', 'COCO results: a list of image_id, category_id, score, segmentation or bbox')
    .addOption(new Option('--type <type>', 'what overlaps').choices(['segm', 'bbox', 'boundary']).default('segm'))
    .option('--class-agnostic', 'all objects are of one class')
    .option('--lvis', "LVIS's rules")
    .option('--max-dets <list>', 'detections of an image and category, three numbers (1,10,100)', numbers)
    .addOption(new Option('--correct <faults...>', "leave faults of pycocotools' out").choices(faults))
    .addOption(skipBad())
    .addOption(json())
    .action(async (groundTruth, detections, options) => print(await coco(groundTruth, detections, options)));

  program
    .command('miou')
    .description('mean IoU of masks with the annotations that they were prompted by')
    .argument('<ground-truth>', 'COCO instances file, or a folder in SA-1B’s form')
    .argument('<results.json>', 'a list of annotation_id and segmentation, such as results.json of a results folder')
    .addOption(skipBad())
    .addOption(json())
    .action(async (truth, results, options) => print(await miou(truth, results, options)));

  program
    .command('merge')
    .description('joins the results folders of all shards of a run')
    .addArgument(new Argument('<folders...>', 'results folders of the shards'))
    .requiredOption('--out <folder>', 'the joined results folder')
    .action(async (folders: string[], { out }: { out: string }) =>
      print(JSON.stringify(await mergeResults(folders, { folder: out }), null, 2)),
    );

  program
    .command('report')
    .description('writes a report of results folders of one protocol; the others are compared with the first')
    .argument('<folders...>', 'results folders')
    .requiredOption('--out <folder>', 'where the report goes')
    .option('--title <text>', 'its title', 'Evaluation')
    .option('--images <folder>', 'where the images lie, for the best and worst masks')
    .option('--latency <name=ms>', "of a model's encoder, for speed against quality; may be repeated", latencies)
    .action(async (folders: string[], options: ReportCommand) => print(await report(folders, options)));

  return program;
}
