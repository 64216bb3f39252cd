/** The worker: opens WebGPU, compiles every pipeline before the first photograph, and answers points. */
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, decodeImage, type EmbeddedImage, loadSam, type Predictor } from '@slimsam/vit';

/** One of them at a time: a model's file, a photograph, or a point of it in pixels. */
export type Request = { model: ArrayBuffer } | { photo: Blob } | { point: [number, number] };

export interface Answer {
  readonly status: string;
  /** [height * width] of 0 and 1 */
  readonly mask?: Uint8Array;
}

const opened = useWebgpu();
let predictor: Predictor | undefined;
let image: EmbeddedImage | undefined;

async function answer(request: Request): Promise<Answer> {
  const backend = await opened;
  if ('model' in request) {
    const { weights, config } = await loadSam(new Uint8Array(request.model));
    const made = createPredictor(weights, config);
    const grey = { width: 64, height: 64, data: new Uint8Array(3 * 64 * 64).fill(128) };
    await backend.warmUp(async () => {
      const embedded = made.embed(grey);
      (await made.predict(embedded, { points: [[32, 32]] })).dispose();
      embedded.dispose();
    });
    predictor = made;
    return { status: `ready on ${backend.facts.name}; choose a photograph` };
  }
  if (!predictor) return { status: 'choose a model first' };
  if ('photo' in request) {
    image?.dispose();
    image = predictor.embed(await decodeImage(request.photo));
    await image.embedding.data(); // until it is computed
    return { status: 'click on an object' };
  }
  if (!image) return { status: 'choose a photograph first' };
  const { masks, scores, dispose } = await predictor.predict(image, { points: [request.point] }, { best: true });
  dispose();
  return { status: `score ${scores[0]![0]!.toFixed(3)}`, mask: masks[0]![0]! };
}

let last: Promise<unknown> = Promise.resolve(); // one request after another
self.onmessage = ({ data }: MessageEvent<Request>) => {
  last = last
    .then(() => answer(data))
    .catch((error): Answer => ({ status: `failed: ${error instanceof Error ? error.message : error}` }))
    .then((told) => self.postMessage(told, { transfer: told.mask ? [told.mask.buffer] : [] }));
};
