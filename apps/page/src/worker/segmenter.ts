import { type CompressedRle, compressRle, decodeRle, encodeRle } from '@slimsam/eval';
import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import {
  createPredictor,
  type EmbeddedImage,
  maskPng,
  type Predictor,
  type Sam,
  segmentEverything,
} from '@slimsam/vit';
import type { RgbImage } from '@slimsam/vit/images';
import { disposeWeights } from '@slimsam/weights';
import { factsOf, type ModelFacts, type ModelSource, openSam } from './models.ts';
import { type PictureSource, readPicture, toBitmap } from './pictures.ts';

/** What is asked about a picture, in its pixels. */
export interface Prompts {
  readonly points: readonly (readonly [x: number, y: number])[];
  /** 1 inside, 0 outside. */
  readonly labels: readonly (0 | 1)[];
  /** x0 y0 x1 y1 */
  readonly box?: readonly [number, number, number, number] | undefined;
}

/** The best mask of a model, and what it took. */
export interface Answer {
  /** [height * width] of 0 and 1 */
  readonly mask: Uint8Array<ArrayBuffer>;
  /** The IoU that the model expects. */
  readonly score: number;
  /** Milliseconds of the encoder, once a picture; 0 where it had been encoded. */
  readonly encoded: number;
  /** Milliseconds from prompt to mask. */
  readonly answered: number;
}

/** A mask of everything mode. */
export interface Found {
  readonly rle: CompressedRle;
  readonly area: number;
  readonly score: number;
}

interface Opened {
  readonly sam: Sam;
  readonly predictor: Predictor;
  readonly facts: ModelFacts;
  embedded?: EmbeddedImage | undefined;
}

/** The models and the picture of a page. */
export interface Segmenter {
  load(source: ModelSource, onProgress: (loaded: number, total: number) => void): Promise<ModelFacts>;
  /** Takes over a model that was made here. */
  add(sam: Sam, name: string): Promise<ModelFacts>;
  /** For compressing; the weights stay the segmenter's. */
  sam(id: string): Sam;
  picture(source: PictureSource): Promise<{ width: number; height: number; bitmap: ImageBitmap }>;
  answer(id: string, prompts: Prompts): Promise<Answer>;
  everything(id: string, onProgress: (done: number, total: number) => void): Promise<Found[]>;
  stop(): void;
  mask(rle: CompressedRle): Uint8Array<ArrayBuffer>;
  png(mask: Uint8Array): Promise<Blob>;
  rle(mask: Uint8Array): CompressedRle;
}

export function createSegmenter(backend: WebgpuBackend): Segmenter {
  const models = new Map<string, Opened>();
  let image: RgbImage | undefined;
  let running: AbortController | undefined;

  const need = (id: string): Opened => {
    const model = models.get(id);
    if (!model) throw new Error(`page: expected an open model, got '${id}'`);
    return model;
  };
  const needImage = (): RgbImage => {
    if (!image) throw new Error('page: expected a picture, got none; open one first');
    return image;
  };
  const encode = async (model: Opened): Promise<number> => {
    if (model.embedded) return 0;
    const start = performance.now();
    const embedded = model.predictor.embed(needImage());
    await embedded.embedding.data();
    model.embedded = embedded;
    return performance.now() - start;
  };
  const forget = () => {
    for (const model of models.values()) {
      model.embedded?.dispose();
      model.embedded = undefined;
    }
  };
  const add = async (sam: Sam, name: string): Promise<ModelFacts> => {
    const id = crypto.randomUUID();
    const opened: Opened = { sam, facts: factsOf(id, name, sam), predictor: createPredictor(sam.weights, sam.config) };
    models.set(id, opened);
    return opened.facts;
  };

  return {
    async load(source, onProgress) {
      const { sam, name } = await openSam(source, onProgress);
      try {
        await warmUp(backend, sam);
        return await add(sam, name);
      } catch (error) {
        disposeWeights(sam.weights);
        throw error;
      }
    },
    add,
    sam: (id) => need(id).sam,
    async picture(source) {
      const next = await readPicture(source);
      forget();
      image = next;
      return { width: next.width, height: next.height, bitmap: await toBitmap(next) };
    },
    async answer(id, { points, labels, box }) {
      const model = need(id);
      const encoded = await encode(model);
      const start = performance.now();
      const asked = { ...(points.length > 0 && { points, labels }), ...(box && { boxes: box }) };
      const multimask = points.length + (box ? 2 : 0) === 1; // one point alone may mean a part or the whole
      const { masks, scores, dispose } = await model.predictor.predict(model.embedded!, asked, {
        multimask,
        best: true,
      });
      dispose();
      const mask = new Uint8Array(masks[0]![0]!);
      return { mask, score: scores[0]![0]!, encoded, answered: performance.now() - start };
    },
    async everything(id, onProgress) {
      const { sam } = need(id);
      const { width, height } = needImage();
      running = new AbortController();
      const found = await segmentEverything(sam.weights, sam.config, needImage(), {
        ...{ pointsPerSide: 16, predIouThresh: 0.7, stabilityScoreThresh: 0.85, minMaskRegionArea: 25 },
        encode: encodeRle,
        signal: running.signal,
        onProgress: ({ done, total }) => onProgress(done, total),
      });
      return found
        .map(({ segmentation, area, predictedIou }) => ({ rle: compressRle(segmentation), area, score: predictedIou }))
        .filter(({ area }) => area < 0.95 * width * height);
    },
    stop: () => running?.abort(new Error('stopped')),
    mask: (rle) => new Uint8Array(decodeRle(rle)),
    png: async (mask) => new Blob([await maskPng(mask, needImage())], { type: 'image/png' }),
    rle: (mask) => compressRle(encodeRle(mask, needImage())),
  };
}

/** Compiles every pipeline, so that the first picture does not wait for it. */
async function warmUp(backend: WebgpuBackend, { weights, config }: Sam): Promise<void> {
  const predictor = createPredictor(weights, config);
  const grey = { width: 64, height: 64, data: new Uint8Array(3 * 64 * 64).fill(128) };
  await backend.warmUp(async () => {
    const embedded = predictor.embed(grey);
    for (const prompts of [{ points: [[32, 32]] }, { boxes: [8, 8, 40, 40] }])
      (await predictor.predict(embedded, prompts, { multimask: 'points' in prompts })).dispose();
    embedded.dispose();
  });
}
