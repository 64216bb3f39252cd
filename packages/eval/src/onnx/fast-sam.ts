import { checkFields } from '@slimsam/weights';
import { optionalPeer } from '../optional-peer.ts';
import type { ImageToSegment, Segment } from '../protocols/segment.ts';
import { answerFromMasks, type EverythingMasks, fastSamMasks } from './fast-sam-masks.ts';
import { type OnnxModel, type OnnxOptions, openSession, resizeWithSharp, sideOf } from './open-onnx.ts';

export interface FastSamOptions extends Pick<OnnxOptions, 'resize'> {
  /** Path of the model: FastSAM-s or FastSAM-x as ultralytics exports it. */
  readonly model: string;
  /** Masks of a lower confidence are left out; 0.4 unless given, as in FastSAM's README. */
  readonly confidence?: number;
  /** IoU of boxes from which the less confident is a duplicate; 0.9 unless given, as there. */
  readonly overlap?: number;
  /** Masks of an image at most; 300 unless given. */
  readonly most?: number;
}

/**
 * FastSAM through onnxruntime-node (an optional peer): finds all masks of an image once, and answers prompts from them by FastSAM's rules
 * (`answerFromMasks`). The image stands in the middle of a grey square, values in [0, 1].
 *
 * @throws when onnxruntime-node is not installed, or the file is no such model
 */
export async function openFastSam(options: FastSamOptions): Promise<OnnxModel> {
  checkFields('openFastSam', options, { model: 'string' });
  const ort = await optionalPeer('openFastSam', 'onnxruntime-node', () => import('onnxruntime-node'));
  const session = await openSession(ort, options.model);
  const [inputs, outputs] = [session.inputNames.join(), session.outputNames.join()];
  if (inputs !== 'images' || outputs !== 'output0,output1') {
    throw new Error(
      `openFastSam: '${options.model}': expected the input images and the outputs output0, output1 of ultralytics' export, got ${inputs} and ${outputs}`,
    );
  }
  const side = sideOf(session, 'images', 1024);
  const masksOf = async (image: ImageToSegment): Promise<EverythingMasks> => {
    const data = await letterbox(image, { side, resize: options.resize ?? resizeWithSharp });
    const found = await session.run({ images: new ort.Tensor('float32', data, [1, 3, side, side]) });
    const [predictions, prototypes] = [found.output0!, found.output1!];
    return fastSamMasks(
      {
        ...{ predictions: predictions.data as Float32Array, predictionShape: predictions.dims },
        ...{ prototypes: prototypes.data as Float32Array, prototypeShape: prototypes.dims },
      },
      {
        ...{ side, width: image.width, height: image.height },
        ...{ confidence: options.confidence ?? 0.4, overlap: options.overlap ?? 0.9, most: options.most ?? 300 },
      },
    );
  };
  let last: { image: ImageToSegment; masks: Promise<EverythingMasks> } | undefined;
  const segment: Segment = async (image, prompts) => {
    if (last?.image !== image) last = { image, masks: masksOf(image) };
    const masks = await last.masks;
    return prompts.map((prompt) => answerFromMasks(masks, prompt));
  };
  return { segment, close: () => session.release() };
}

/** [3, side, side]: the image in the middle of grey (114 of 255). */
async function letterbox(
  image: ImageToSegment,
  { side, resize }: { side: number; resize: NonNullable<FastSamOptions['resize']> },
): Promise<Float32Array> {
  const gain = side / Math.max(image.width, image.height);
  const size = { width: Math.round(image.width * gain), height: Math.round(image.height * gain) };
  const { data } = await resize(await image.pixels(), size);
  // as ultralytics' LetterBox rounds
  const left = Math.round((side - size.width) / 2 - 0.1);
  const top = Math.round((side - size.height) / 2 - 0.1);
  const square = new Float32Array(3 * side * side).fill(114 / 255);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < size.height; y++) {
      const row = (c * side + top + y) * side + left;
      for (let x = 0; x < size.width; x++) square[row + x] = data[(y * size.width + x) * 3 + c]! / 255;
    }
  }
  return square;
}
