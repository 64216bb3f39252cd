import { checkFields } from '@slimsam/weights';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { RgbImage } from '../image.ts';
import { optionalPeer } from '../optional-peer.ts';
import type { ImageToSegment, Prompt, Segment, Segmented } from '../protocols/segment.ts';
import { conventionOf, type ImageConvention, type OnnxConvention } from './conventions.ts';
import { largeLogits, maskOf } from './large-logits.ts';

export interface OnnxOptions {
  /** Paths of the two models. */
  readonly encoder: string;
  readonly decoder: string;
  /** How the files want images and prompts; by the names of their inputs unless given. */
  readonly convention?: OnnxConvention;
  /** Pixels of the encoder's side where its input does not say; 1024 unless given. */
  readonly side?: number;
  /** Resizes an image, as the model's own preprocessing does; sharp's linear kernel unless given. */
  readonly resize?: (
    image: RgbImage,
    size: { readonly width: number; readonly height: number },
  ) => RgbImage | Promise<RgbImage>;
}

/** An open model; `segment` goes to runProtocol. */
export interface OnnxModel {
  readonly segment: Segment;
  close(): Promise<void>;
}

type Runtime = typeof import('onnxruntime-node');

interface Encoded {
  readonly embeddings: Readonly<Record<string, Tensor>>;
  readonly side: number;
  /** Resized pixels of one of the image's. */
  readonly scale: readonly [x: number, y: number];
  readonly inputSize: readonly [height: number, width: number];
}

/**
 * A model of two ONNX files (image encoder; prompt encoder and mask decoder) through onnxruntime-node (an optional peer). An image is
 * encoded once.
 *
 * @throws when onnxruntime-node is not installed, a file is no model, or its inputs and outputs are not those of the convention
 */
export async function openOnnx(options: OnnxOptions): Promise<OnnxModel> {
  checkFields('openOnnx', options, { encoder: 'string', decoder: 'string' });
  const ort = await optionalPeer('openOnnx', 'onnxruntime-node', () => import('onnxruntime-node'));
  const [encoder, decoder] = await Promise.all([openSession(ort, options.encoder), openSession(ort, options.decoder)]);
  const inputs = [...encoder.inputNames, ...decoder.inputNames];
  const convention = options.convention ?? conventionOf(new Set(inputs));
  if (!convention) {
    throw new Error(
      `openOnnx: '${options.decoder}': expected the inputs of a known convention, got ${inputs.join(', ')}; describe them by one`,
    );
  }
  const { image, prompt } = convention;
  expectNames(options.encoder, encoder, { inputs: [image.input], outputs: image.embeddings });
  expectNames(options.decoder, decoder, {
    inputs: [...image.embeddings, prompt.points, prompt.labels],
    outputs: [prompt.masks, prompt.scores],
  });
  let last: { image: ImageToSegment; encoded: Promise<Encoded> } | undefined;
  let corners = prompt.corners === 'known';
  return {
    segment: async (asked, prompts) => {
      if (last?.image !== asked)
        last = { image: asked, encoded: encode(ort, encoder, { image: asked, options, convention: image }) };
      const encoded = await last.encoded;
      const answers: Segmented[] = [];
      for (const one of prompts) {
        const given = { image: asked, prompt: one, encoded, convention };
        if (one.box && !corners) corners = await expectCorners(ort, decoder, { ...given, file: options.decoder });
        answers.push(await decode(ort, decoder, given));
      }
      return answers;
    },
    close: async () => {
      await encoder.release();
      await decoder.release();
    },
  };
}

/**
 * A decoder that does not know corners gives them the same embedding as any unknown label.
 *
 * @throws when it is one
 */
async function expectCorners(
  ort: Runtime,
  decoder: InferenceSession,
  { file, ...given }: DecodeInput & { file: string },
): Promise<true> {
  const scores = async (corners: readonly [number, number]) =>
    (await decode(ort, decoder, { ...given, corners })).scores.join();
  if ((await scores(boxLabels)) === (await scores([4, 4]))) {
    throw new Error(
      `openOnnx: '${file}': expected a decoder that knows the corners of a box, got one for points alone; take points or another export`,
    );
  }
  return true;
}

export async function openSession(ort: Runtime, file: string): Promise<InferenceSession> {
  return ort.InferenceSession.create(file).catch((error: unknown) => {
    throw new Error(`openOnnx: '${file}': expected an ONNX model, got ${String(error)}`, { cause: error });
  });
}

function expectNames(
  file: string,
  session: InferenceSession,
  { inputs, outputs }: { inputs: readonly string[]; outputs: readonly string[] },
): void {
  const check = (kind: string, wanted: readonly string[], found: readonly string[]) => {
    if (wanted.every((name) => found.includes(name))) return;
    throw new Error(
      `openOnnx: '${file}': expected the ${kind} ${wanted.join(', ')}, got ${found.join(', ')}; take another convention`,
    );
  };
  check('inputs', inputs, session.inputNames);
  check('outputs', outputs, session.outputNames);
}

/** The side that the encoder's input states. */
export function sideOf(session: InferenceSession, input: string, fallback: number): number {
  const metadata = session.inputMetadata.find(({ name }) => name === input);
  const side = metadata?.isTensor ? metadata.shape.at(-1) : undefined;
  return typeof side === 'number' && side > 0 ? side : fallback;
}

async function encode(
  ort: Runtime,
  session: InferenceSession,
  { image, options, convention }: { image: ImageToSegment; options: OnnxOptions; convention: ImageConvention },
): Promise<Encoded> {
  const { input, fit, mean, std, embeddings } = convention;
  const pixels = await image.pixels();
  const side = sideOf(session, input, options.side ?? 1024);
  const ratio = side / Math.max(image.width, image.height);
  const size =
    fit === 'own'
      ? { width: image.width, height: image.height }
      : { width: Math.floor(image.width * ratio + 0.5), height: Math.floor(image.height * ratio + 0.5) };
  const small = fit === 'own' ? pixels : await (options.resize ?? resizeWithSharp)(pixels, size);
  const [rows, columns] = fit === 'own' ? [size.height, size.width] : [side, side];
  const data = new Float32Array(3 * rows * columns);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < size.height; y++) {
      for (let x = 0; x < size.width; x++) {
        const value = small.data[(y * size.width + x) * 3 + c]!;
        data[(c * rows + y) * columns + x] = (value - mean[c]!) / std[c]!;
      }
    }
  }
  const found = await session.run({ [input]: new ort.Tensor('float32', data, [1, 3, rows, columns]) });
  return {
    embeddings: Object.fromEntries(embeddings.map((name) => [name, found[name]!])),
    side,
    scale: [size.width / image.width, size.height / image.height],
    inputSize: [size.height, size.width],
  };
}

export async function resizeWithSharp(
  image: RgbImage,
  { width, height }: { width: number; height: number },
): Promise<RgbImage> {
  const { default: sharp } = await optionalPeer('openOnnx', 'sharp', () => import('sharp'));
  const raw = { width: image.width, height: image.height, channels: 3 } as const;
  const data = await sharp(image.data, { raw })
    .resize({ width, height, fit: 'fill', kernel: 'linear' })
    .raw()
    .toBuffer();
  return { width, height, data };
}

/** Labels of a box's corners. */
const boxLabels = [2, 3] as const;

interface DecodeInput {
  readonly image: ImageToSegment;
  readonly prompt: Prompt;
  readonly encoded: Encoded;
  readonly convention: OnnxConvention;
  readonly corners?: readonly [number, number];
}

async function decode(
  ort: Runtime,
  session: InferenceSession,
  { image, prompt, encoded, convention, corners = boxLabels }: DecodeInput,
): Promise<Segmented> {
  const how = convention.prompt;
  const { points, labels } = pointsOf(prompt, { padding: how.padding, corners });
  const scale = how.space === 'image' ? [1, 1] : encoded.scale;
  const leading = how.leading === 1 ? [1] : [1, 1];
  const coordinates = Float32Array.from(points.flat(), (value, i) => value * scale[i % 2]!);
  const feeds: Record<string, Tensor> = {
    ...encoded.embeddings,
    [how.points]: new ort.Tensor('float32', coordinates, [...leading, points.length, 2]),
    [how.labels]:
      how.labelType === 'int64'
        ? new ort.Tensor('int64', BigInt64Array.from(labels, BigInt), [...leading, labels.length])
        : new ort.Tensor('float32', Float32Array.from(labels), [...leading, labels.length]),
  };
  if (how.extras === 'masks-and-size') {
    const side = 4 * encoded.embeddings[convention.image.embeddings[0]!]!.dims.at(-1)!;
    const before = prompt.previous?.state;
    feeds.mask_input = new ort.Tensor(
      'float32',
      before instanceof Float32Array ? before : new Float32Array(side * side),
      [1, 1, side, side],
    );
    feeds.has_mask_input = new ort.Tensor('float32', [before instanceof Float32Array ? 1 : 0], [1]);
    feeds.orig_im_size = new ort.Tensor('float32', [image.height, image.width], [2]);
  } else if (how.extras === 'size') {
    feeds.orig_im_size = new ort.Tensor('int64', BigInt64Array.of(BigInt(image.height), BigInt(image.width)), [2]);
  }
  const found = await session.run(feeds);
  const scores = [...(found[how.scores]!.data as Float32Array)];
  const logitsOf = largeLogitsOf(found[how.masks]!, { image, encoded, how, count: scores.length });
  const chosen = choose(scores, prompt.multimask, how.firstIsSingle);
  const lowRes = how.extras === 'masks-and-size' ? found.low_res_masks : undefined;
  const cells = lowRes ? lowRes.dims.at(-1)! * lowRes.dims.at(-2)! : 0;
  const first = chosen[0]!;
  const logits = chosen.map(logitsOf);
  return {
    masks: logits.map(maskOf),
    scores: chosen.map((index) => scores[index]!),
    ...(prompt.logits && { logits }),
    ...(lowRes && { state: (lowRes.data as Float32Array).slice(first * cells, (first + 1) * cells) }),
  };
}

/** Points, corners of the box, and padding. */
function pointsOf(
  { points = [], labels = [], box }: Prompt,
  how: { padding: boolean; corners: readonly [number, number] },
): { points: number[][]; labels: number[] } {
  const places = box
    ? [
        [box[0], box[1]],
        [box[0] + box[2], box[1] + box[3]],
      ]
    : [];
  const pad = how.padding && !box;
  return {
    points: [...points.map((point) => [...point]), ...places, ...(pad ? [[0, 0]] : [])],
    labels: [...labels, ...(box ? how.corners : []), ...(pad ? [-1] : [])],
  };
}

/** Indices of the masks that answer the prompt. */
function choose(scores: readonly number[], multimask: boolean, firstIsSingle: boolean): number[] {
  const all = scores.map((_, i) => i);
  if (firstIsSingle && scores.length > 1) return multimask ? all.slice(1) : [0];
  return multimask ? all : [scores.indexOf(Math.max(...scores))];
}

function largeLogitsOf(
  tensor: Tensor,
  {
    image,
    encoded,
    how,
    count,
  }: { image: ImageToSegment; encoded: Encoded; how: OnnxConvention['prompt']; count: number },
): (index: number) => Float32Array {
  const [height, width] = tensor.dims.slice(-2) as [number, number];
  const logits = tensor.data as Float32Array;
  if (logits.length !== count * height * width) {
    throw new Error(`openOnnx: expected ${count} masks, one for each score, got [${tensor.dims.join(', ')}]`);
  }
  if (how.maskSize === 'image' && (height !== image.height || width !== image.width)) {
    throw new Error(`openOnnx: expected masks of ${image.height} x ${image.width}, got ${height} x ${width}`);
  }
  return (index) => {
    const one = logits.subarray(index * height * width, (index + 1) * height * width);
    if (how.maskSize === 'image') return one.slice();
    return largeLogits(one, {
      size: [height, width],
      side: encoded.side,
      inputSize: encoded.inputSize,
      imageSize: [image.height, image.width],
    });
  };
}
