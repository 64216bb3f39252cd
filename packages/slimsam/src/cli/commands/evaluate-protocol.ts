import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import {
  type BadRecord,
  badRecordText,
  bestDisc,
  boxesByImage,
  discBaseline,
  type EvalImage,
  type Protocol,
  readCocoImages,
  readDetections,
  readEdgeImages,
  readGroundTruth,
  readSa1b,
  readSa1bTar,
  runProtocol,
  type Segment,
  type Summary,
} from '@slimsam/eval';
import type { Weights } from '@slimsam/weights';
import { openBackend } from '../../backend/open-backend.ts';
import { openOnnxModel } from '../../evaluate/open-onnx-model.ts';
import { segmentWithSam } from '../../evaluate/segment-with-sam.ts';
import { loadOnlySam } from '../../models/load-model.ts';
import type { ManyMachinesOptions } from '../many-machines.ts';
import { type CommonOptions, userPath } from '../options.ts';
import { output } from '../output.ts';

/** The names that `--protocol` takes. */
export const protocols = ['points', 'clicks', 'boxes', 'best-of-three', 'instances', 'edges'] as const;

/** What is evaluated, on what, and where the results go. */
export interface ProtocolOptions extends CommonOptions, ManyMachinesOptions {
  readonly imagesPerJob: number;
  readonly data: string;
  readonly protocol: (typeof protocols)[number];
  readonly out: string;
  readonly annotations?: string;
  readonly boxes?: string;
  readonly lvis?: boolean;
  readonly clicks: number;
  readonly truth?: string;
  readonly convention?: string;
  readonly radiusFrom?: string;
  readonly name?: string;
  readonly shard?: { readonly part: number; readonly parts: number };
  readonly skipBad?: boolean;
}

/** An open model: its function, the hash of its weights, and how to let go of it. */
interface OpenModel {
  readonly segment: Segment;
  readonly weights: string;
  readonly name: string;
  readonly adapter: string;
  close(): void | Promise<void>;
}

/** Runs a protocol into a results folder. @throws when data, model or options do not fit, before the model is opened where that tells */
export async function evaluateByProtocol(source: string, options: ProtocolOptions, signal: AbortSignal): Promise<void> {
  const { result, note, warn, bar } = output(options);
  const bad: BadRecord[] = [];
  const { protocol, images, groundTruth, total } = await openData(options, { signal, bad });
  const model = await openModel(source, options);
  const progress = bar(`${options.protocol} ${model.name}`, Math.ceil(total / (options.shard?.parts ?? 1)));
  try {
    note(`${model.name} on ${model.adapter}`);
    const summary = await runProtocol({
      ...{ protocol, images, bad, signal, folder: options.out, segment: model.segment },
      model: { name: options.name ?? model.name, weights: model.weights },
      ...(groundTruth && { groundTruth }),
      ...(options.skipBad && { onBad: (record: BadRecord) => void bad.push(record) }),
      ...(options.shard && { shard: options.shard }),
      onImage: ({ done, record }) => progress.update(done, record.name),
    });
    progress.stop();
    for (const record of bad) warn(`skipped: ${badRecordText(record)}`);
    result(summaryLines(summary, options.out), { folder: options.out, adapter: model.adapter, summary, skipped: bad });
  } finally {
    progress.stop();
    await model.close();
  }
}

/** What is evaluated on. */
interface OpenData {
  readonly protocol: Protocol;
  readonly images: AsyncIterable<EvalImage>;
  readonly groundTruth: Awaited<ReturnType<typeof readGroundTruth>> | undefined;
  /** Images; 0 where their number is not known before. */
  readonly total: number;
}

/** The images, and the protocol with what it takes of files. */
export async function openData(
  options: ProtocolOptions,
  { signal, bad }: { signal: AbortSignal; bad: BadRecord[] },
): Promise<OpenData> {
  const { data } = options;
  const reading = { signal, ...(options.skipBad && { onBad: (record: BadRecord) => void bad.push(record) }) };
  if ((options.protocol === 'edges') !== (options.truth !== undefined))
    throw new Error('evaluate: expected --truth, boundaries drawn by people, with --protocol edges and with no other');
  if (options.boxes && options.protocol !== 'instances')
    throw new Error(`evaluate: expected --boxes with --protocol instances, got ${options.protocol}`);
  if (options.truth) {
    const images = readEdgeImages({ images: data, boundaries: options.truth }, reading);
    return {
      protocol: { name: 'edges' } as const,
      images,
      groundTruth: undefined,
      total: await countOf(data, /[.](jpe?g|png|webp|tiff?)$/i),
    };
  }
  const groundTruth = options.annotations ? await readGroundTruth(options.annotations, reading) : undefined;
  if (options.boxes && !groundTruth) throw new Error('evaluate: expected --annotations beside --boxes');
  const boxes =
    options.boxes && groundTruth && (await readDetections(options.boxes, groundTruth, { ...reading, type: 'bbox' }));
  const images: AsyncIterable<EvalImage> = groundTruth
    ? readCocoImages(data, groundTruth, reading)
    : /[.](tar|tar[.]gz|tgz)$/.test(data)
      ? readSa1bTar(data, reading)
      : readSa1b(data, reading);
  return {
    protocol: protocolOf(options, boxes || undefined),
    images,
    groundTruth,
    total: groundTruth?.images.length ?? (await countOf(data, /[.]json$/)),
  };
}

/** Files of a folder whose names match; 0 for a tar, whose number is not known before. */
async function countOf(folder: string, name: RegExp): Promise<number> {
  return (await readdir(folder).catch(() => [])).filter((file) => name.test(file)).length;
}

function protocolOf(
  { protocol: name, clicks, lvis }: ProtocolOptions,
  boxes: Awaited<ReturnType<typeof readDetections>> | undefined,
): Protocol {
  if (name === 'clicks') return { name, clicks };
  if (name === 'instances')
    return { name, rules: lvis ? 'lvis' : 'coco', ...(boxes && { boxes: boxesByImage(boxes) }) };
  return { name };
}

async function openModel(source: string, options: ProtocolOptions): Promise<OpenModel> {
  const { convention, radiusFrom, backend: backendName } = options;
  if (source === 'disc') {
    if (radiusFrom === undefined) throw new Error("evaluate: expected --radius-from beside 'disc'");
    const { radius } = await bestDisc(readSa1b(radiusFrom));
    const name = `disc of ${(100 * radius).toFixed(1)} %`;
    return { segment: discBaseline({ radius }), weights: 'none', name, adapter: 'no device', close: () => {} };
  }
  const place = userPath(source);
  const name = path.basename(place).replace(/[.](safetensors|pth?|onnx)$/, '');
  if (await isOnnx(place)) {
    const { segment, files, close } = await openOnnxModel(place, convention);
    return { segment, name, weights: await hashOfFiles(files), adapter: 'onnxruntime on the CPU', close };
  }
  const backend = await openBackend(backendName);
  try {
    const sam = await loadOnlySam(source, options);
    const isFile = existsSync(place) && (await stat(place)).isFile();
    const weights = isFile ? await hashOfFiles([place]) : await hashOfWeights(sam.weights);
    const { segment, dispose } = segmentWithSam(sam);
    const close = () => {
      dispose();
      backend.close();
    };
    return { segment, name, weights, adapter: backend.adapter, close };
  } catch (error) {
    backend.close();
    throw error;
  }
}

/** Whether a path is of ONNX files. */
export async function isOnnx(place: string): Promise<boolean> {
  if (place.endsWith('.onnx')) return true;
  const folders = [place, path.join(place, 'onnx')];
  const names = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
  return names.flat().some((file) => file.endsWith('.onnx'));
}

/** SHA-256 of the files one after another; of one file what `sha256sum` prints. */
export async function hashOfFiles(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) for await (const part of createReadStream(file)) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** SHA-256 of names, shapes and values, for weights that are not one file. */
export async function hashOfWeights(weights: Weights): Promise<string> {
  const hash = createHash('sha256');
  for (const name of Object.keys(weights).sort()) {
    hash.update(JSON.stringify([name, weights[name]!.shape]));
    const values = await weights[name]!.data();
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest('hex');
}

export function summaryLines(summary: Summary, folder: string): string {
  const lines = Object.entries(summary).flatMap(([key, value]) => {
    if (value === null || typeof value !== 'object')
      return [`${key}: ${typeof value === 'number' ? shown(value) : value}`];
    const parts = Object.entries(value as Readonly<Record<string, unknown>>).filter(
      ([, part]) => typeof part === 'number',
    );
    const isList = Array.isArray(value);
    return [`${key}: ${parts.map(([name, part]) => `${isList ? '' : `${name} `}${shown(part as number)}`).join(', ')}`];
  });
  return [...lines, `results: ${folder}`].join('\n');
}

const shown = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(4));
