/**
 * What the page does, in Node: a click's mask, or a compression of drawn scenes; or the mIoU of models on scenes. Prints JSON; run by
 * support.ts with SwiftShader.
 */
import { readSa1b } from '@slimsam/eval';
import { generateScene, generateScenes } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, loadSam, saveSam } from '@slimsam/vit';
import { compress, evaluateSam, photographsInMemory, slimSam } from 'slimsam';
import type { Settings } from '../src/worker/storage.ts';

/** What is asked, as JSON on the command line. */
export type Asked =
  | { readonly model: string; readonly scene: number; readonly point: readonly [number, number] }
  | { readonly model: string; readonly scene: number; readonly box: readonly [number, number, number, number] }
  | { readonly model: string; readonly scenes: number; readonly settings: Settings; readonly out: string }
  /** `folder` is an empty one. */
  | { readonly models: readonly string[]; readonly scenes: number; readonly folder: string };

/** What is printed. */
export interface Printed {
  readonly adapter: string;
  readonly score?: number;
  /** A digit, 0 or 1, for each pixel. */
  readonly mask?: string;
  /** Of each model, with one point. */
  readonly miou?: readonly (number | undefined)[];
}

const asked = JSON.parse(process.argv[2]!) as Asked;
const backend = await useWebgpu();
const adapter = backend.facts.name;
const print = (printed: Printed) => console.log(JSON.stringify(printed));
if ('models' in asked) {
  await generateScenes({ folder: asked.folder, count: asked.scenes, seed: 5 });
  const miou: (number | undefined)[] = [];
  for (const model of asked.models)
    miou.push((await evaluateSam(await loadSam(model), readSa1b(asked.folder), { latency: false })).miou);
  print({ adapter, miou });
} else if ('scenes' in asked) {
  const sam = await loadSam(asked.model);
  const side = sam.config.imageSize;
  const photographs = photographsInMemory(
    Array.from({ length: asked.scenes }, (_, i) => ({
      name: `scene-${i + 1}.png`,
      image: generateScene(i + 1, { width: side, height: side }).image,
    })),
  );
  const { ratio, epochs, learningRate, sample, batch, seed } = asked.settings;
  const recipe = slimSam({ ratio, epochs, learningRate, sample, decay: 'cosine' });
  for await (const event of compress(sam, { photographs, recipe, batch, seed }))
    if (event.type === 'done') await saveSam(asked.out, event.result.model);
  print({ adapter });
} else {
  const sam = await loadSam(asked.model);
  const { image } = generateScene(asked.scene, { width: 384, height: 256, objects: [3, 5] });
  const predictor = createPredictor(sam.weights, sam.config);
  const embedded = predictor.embed(image);
  const prompts = 'point' in asked ? { points: [asked.point] } : { boxes: asked.box };
  const { masks, scores, dispose } = await predictor.predict(embedded, prompts, { multimask: 'point' in asked });
  dispose();
  const best = scores[0]!.indexOf(Math.max(...scores[0]!));
  print({ adapter, score: scores[0]![best]!, mask: [...masks[0]![best]!].join('') });
}
backend.dispose();
