/** What the page does, in Node: a click's mask, or a compression of drawn scenes. Prints JSON; run by support.ts with SwiftShader. */
import { generateScene } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, loadSam, saveSam } from '@slimsam/vit';
import { compress, photographsInMemory, slimSam } from 'slimsam';
import type { Settings } from '../src/worker/storage.ts';

/** What is asked, as JSON on the command line. */
export type Asked =
  | { readonly model: string; readonly scene: number; readonly point: readonly [number, number] }
  | { readonly model: string; readonly scene: number; readonly box: readonly [number, number, number, number] }
  | { readonly model: string; readonly scenes: number; readonly settings: Settings; readonly out: string };

const asked = JSON.parse(process.argv[2]!) as Asked;
const backend = await useWebgpu();
const sam = await loadSam(asked.model);
if ('scenes' in asked) {
  const side = sam.config.imageSize;
  const photographs = photographsInMemory(
    Array.from({ length: asked.scenes }, (_, i) => ({
      name: `scene-${i + 1}.png`,
      image: generateScene(i + 1, { width: side, height: side }).image,
    })),
  );
  const { ratio, epochs, learningRate, batch, seed } = asked.settings;
  const recipe = slimSam({ ratio, epochs, learningRate, decay: 'cosine' });
  for await (const event of compress(sam, { photographs, recipe, batch, seed }))
    if (event.type === 'done') await saveSam(asked.out, event.result.model);
  console.log(JSON.stringify({ adapter: backend.facts.name }));
} else {
  const { image } = generateScene(asked.scene, { width: 384, height: 256, objects: [3, 5] });
  const predictor = createPredictor(sam.weights, sam.config);
  const embedded = predictor.embed(image);
  const prompts = 'point' in asked ? { points: [asked.point] } : { boxes: asked.box };
  const { masks, scores, dispose } = await predictor.predict(embedded, prompts, { multimask: 'point' in asked });
  dispose();
  const best = scores[0]!.indexOf(Math.max(...scores[0]!));
  console.log(
    JSON.stringify({ adapter: backend.facts.name, score: scores[0]![best], mask: [...masks[0]![best]!].join('') }),
  );
}
backend.dispose();
