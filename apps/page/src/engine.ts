import * as Comlink from 'comlink';
import { tell } from './explain.ts';
import type { ModelFacts, ModelSource } from './worker/models.ts';
import type { PictureSource } from './worker/pictures.ts';
import type { Answer, Prompts } from './worker/segmenter.ts';
import type { Api } from './worker/worker.ts';

type Engine = Comlink.Remote<Api>;

/** A picture that is open. */
export interface Picture {
  readonly bitmap: ImageBitmap;
  readonly width: number;
  readonly height: number;
}

/** What all views share: the worker, the models and the picture. Listeners are called when one of them changed. */
export interface Session {
  readonly engine: Engine;
  readonly models: readonly ModelFacts[];
  readonly picture: Picture | undefined;
  /** A software adapter: seconds rather than milliseconds. */
  readonly isCpu: boolean;
  /** Milliseconds of each model's encoder and masks, as last seen. */
  readonly times: Map<string, { encoded?: number | undefined; answered?: number }>;
  open(): Promise<void>;
  load(source: ModelSource): Promise<ModelFacts>;
  add(model: ModelFacts): void;
  show(source: PictureSource): Promise<void>;
  /** The best mask of a model on the picture; its times are noted. */
  answer(id: string, prompts: Prompts): Promise<Answer>;
  /** Another worker, with another device: models of the page are loaded again, others are gone. */
  restart(): Promise<void>;
  onChange(listener: (what: 'models' | 'picture') => void): void;
}

export function createSession(status: (text: string) => void): Session {
  const listeners: ((what: 'models' | 'picture') => void)[] = [];
  const changed = (what: 'models' | 'picture') => {
    for (const listener of listeners) listener(what);
  };
  let { worker, engine } = startWorker();
  let models: readonly ModelFacts[] = [];
  let picture: Picture | undefined;
  let isCpu = false;
  let opened = '';

  async function load(source: ModelSource): Promise<ModelFacts> {
    const name = 'bundled' in source ? source.bundled : 'file' in source ? source.file.name : source.place;
    const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
    status(`loading ${name}`);
    const told = Comlink.proxy((loaded: number, total: number) =>
      status(
        loaded < total
          ? `loading ${name}: ${megabytes(loaded)} of ${megabytes(total)} MB`
          : `compiling the shaders of ${name}`,
      ),
    );
    const facts = await engine.load(source, told);
    session.add(facts);
    return facts;
  }

  const session: Session = {
    get engine() {
      return engine;
    },
    get models() {
      return models;
    },
    get picture() {
      return picture;
    },
    get isCpu() {
      return isCpu;
    },
    times: new Map(),
    async open() {
      status('opening WebGPU');
      const facts = await engine.open();
      isCpu = facts.isCpu;
      opened = `${facts.name}${isCpu ? ', without a GPU' : ''}`;
      for (const bundled of ['slim', 'teacher'] as const) await load({ bundled });
      status(opened);
    },
    load: (source) => load(source).finally(() => status(opened)),
    add(model) {
      models = [...models, model];
      changed('models');
    },
    async show(source) {
      const { bitmap, width, height } = await engine.picture(source);
      picture?.bitmap.close();
      picture = { bitmap, width, height };
      changed('picture');
    },
    async answer(id, prompts) {
      const found = await engine.answer(id, prompts);
      const times = session.times.get(id) ?? {};
      session.times.set(id, { encoded: found.encoded || times.encoded, answered: found.answered });
      return found;
    },
    async restart() {
      worker.terminate();
      ({ worker, engine } = startWorker());
      models = [];
      picture = undefined;
      session.times.clear();
      changed('models');
      changed('picture');
      await session.open();
    },
    onChange: (listener) => listeners.push(listener),
  };
  return session;
}

function startWorker(): { worker: Worker; engine: Engine } {
  const worker = new Worker(new URL('./worker/worker.ts', import.meta.url), { type: 'module' });
  worker.addEventListener('error', (event) => tell(event.message || 'The worker did not start; reload the page.'));
  return { worker, engine: Comlink.wrap<Api>(worker) };
}

/** Whether an error says that the device is gone, and the worker with it. */
export const isLost = (error: unknown): boolean =>
  /device was lost|device is lost|create the backend again/.test(
    error instanceof Error ? error.message : String(error),
  );

/** Runs what the user asked for; an error becomes the message, and a lost device is opened again. */
export async function attempt(session: Session, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    tell(error);
    if (isLost(error)) await session.restart().catch(tell);
  }
}
