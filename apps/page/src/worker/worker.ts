/** All that computes: WebGPU, the models and the compression live in this worker, so that the page never waits. */
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as Comlink from 'comlink';
import { type Compressor, createCompressor, type Listener, type Source } from './compressor.ts';
import type { ModelFacts, ModelSource } from './models.ts';
import type { PictureSource } from './pictures.ts';
import { createSegmenter, type Prompts, type Segmenter } from './segmenter.ts';
import type { Settings } from './storage.ts';

const hasGpu = 'gpu' in navigator;
const opened = open();
opened.catch(() => {}); // told by `open`

/** Chromium has no adapter yet while its GPU process starts: asks again for two seconds. */
async function open(): Promise<WebgpuBackend> {
  if (!hasGpu) throw new Error('webgpu: expected navigator.gpu, got none');
  for (let tries = 0; ; tries++) {
    try {
      return await useWebgpu();
    } catch (error) {
      if (tries === 4) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

const segmenter = opened.then(createSegmenter);
segmenter.catch(() => {}); // told by whoever asks for it
const compressor: Compressor = createCompressor();
let slim: Awaited<ReturnType<Compressor['goOn']>>;

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

  stored: () => compressor.stored(),
  discard: () => compressor.discard(),
  async compress(id: string, source: Source, settings: Settings, tell: Listener): Promise<ModelFacts | undefined> {
    const s = await segmenter;
    return kept(await compressor.start(s.sam(id), source, settings, tell));
  },
  async goOn(tell: Listener): Promise<ModelFacts | undefined> {
    await segmenter;
    return kept(await compressor.goOn(tell));
  },
  pause: () => compressor.pause(),
  proceed: () => compressor.proceed(),
  stop: () => compressor.stop(),
  async files(kind: 'safetensors' | 'onnx'): Promise<File[]> {
    if (!slim) throw new Error('compress: expected a slim model, got none; compress one first');
    return compressor.files(slim, kind);
  },
};

/** The slim model goes among the models that segment. */
async function kept(model: Awaited<ReturnType<Compressor['goOn']>>): Promise<ModelFacts | undefined> {
  slim = model ?? slim;
  return model && (await segmenter).add(model, 'made here');
}

export type Api = typeof api;

Comlink.expose(api);
