/** All that computes: WebGPU, the models and the compression live in this worker, so that the page never waits. */
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as Comlink from 'comlink';
import { type Compressor, createCompressor, type Listener, type Made, type Source } from './compressor.ts';
import type { ModelFacts, ModelSource } from './models.ts';
import type { PictureSource } from './pictures.ts';
import { createSegmenter, type Prompts, type Segmenter } from './segmenter.ts';
import type { Settings } from './storage.ts';

const hasGpu = 'gpu' in navigator;
const opened = open();
opened.catch(() => {}); // told by `open`

async function open(): Promise<WebgpuBackend> {
  if (!hasGpu) throw new Error('webgpu: expected navigator.gpu, got none');
  return useWebgpu();
}

const segmenter = opened.then(createSegmenter);
segmenter.catch(() => {}); // told by whoever asks for it
const compressor: Compressor = createCompressor();
let slim: Made | undefined;

/** One after another: they share the device's memory. */
let last: Promise<unknown> = Promise.resolve();
function inTurn<T>(work: (segmenter: Segmenter) => Promise<T>): Promise<T> {
  const next = last.then(() => segmenter).then(work);
  last = next.catch(() => {});
  return next;
}

const api = {
  async open() {
    const { name, isCpu } = (await opened).facts;
    return { name, isCpu };
  },
  load: (source: ModelSource, onProgress: (loaded: number, total: number) => void): Promise<ModelFacts> =>
    inTurn((s) => s.load(source, onProgress)),
  picture: (source: PictureSource) =>
    inTurn(async (s) => {
      const told = await s.picture(source);
      return Comlink.transfer(told, [told.bitmap]);
    }),
  answer: (id: string, prompts: Prompts) =>
    inTurn(async (s) => {
      const answer = await s.answer(id, prompts);
      return Comlink.transfer(answer, [answer.mask.buffer]);
    }),
  everything: (id: string, onProgress: (done: number, total: number) => void) =>
    inTurn((s) => s.everything(id, onProgress)),
  stopEverything: async () => (await segmenter).stop(),
  mask: async (rle: Parameters<Segmenter['mask']>[0]) => (await segmenter).mask(rle),
  png: async (mask: Uint8Array) => (await segmenter).png(mask),
  rle: async (mask: Uint8Array) => (await segmenter).rle(mask),

  kept: () => compressor.kept(),
  discard: () => compressor.discard(),
  async compress(id: string, source: Source, settings: Settings, tell: Listener): Promise<ModelFacts | undefined> {
    const s = await segmenter;
    return add(await compressor.start(s.sam(id), source, settings, tell));
  },
  async goOn(tell: Listener): Promise<ModelFacts | undefined> {
    await segmenter;
    return add(await compressor.goOn(tell));
  },
  pause: () => compressor.pause(),
  proceed: () => compressor.proceed(),
  stop: () => compressor.stop(),
  async files(kind: 'safetensors' | 'onnx'): Promise<File[]> {
    if (!slim) throw new Error('compress: expected a slim model, got none; compress one first');
    return compressor.files(slim.sam, kind);
  },
};

/** The slim model goes among the models that segment. */
async function add(made: Made | undefined): Promise<ModelFacts | undefined> {
  slim = made ?? slim;
  return made && (await segmenter).add(made.sam, made.name);
}

export type Api = typeof api;

Comlink.expose(api);
