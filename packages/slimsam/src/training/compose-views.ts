import { checkFields } from '@slimsam/weights';
import { startWorker } from '../threads/start-worker.ts';
import { composeView, type View, type ViewOptions, type ViewSource } from './compose-view.ts';
import { randomOf } from './random.ts';

/** What a composer's threads are given; the photographs' pixels are in memory that threads share. */
export interface ComposerInputs {
  readonly sources: readonly ViewSource[];
  readonly options: ViewOptions;
  readonly seed: number;
}

/** Makes views by number, the same one each time. */
export interface ViewComposer {
  compose(first: number, count: number): Promise<View[]>;
  close(): Promise<void>;
}

/** View number `index` of a seed. */
export function viewOf({ sources, options, seed }: ComposerInputs, index: number): View {
  return composeView(randomOf(seed, index), sources, options);
}

/** @param options.threads worker threads; with 0 views are made in this one, when they are asked for */
export function viewComposer(inputs: ComposerInputs, options: { readonly threads: number }): ViewComposer {
  checkFields('viewComposer', { inputs }, { inputs: 'object' });
  checkFields('viewComposer', options, { threads: 'number' });
  const { threads } = options;
  if (threads === 0) {
    return {
      compose: async (first, count) => Array.from({ length: count }, (_, i) => viewOf(inputs, first + i)),
      close: async () => {},
    };
  }
  const entry = { of: import.meta.url, path: './view-worker' };
  const workers = Array.from({ length: threads }, () => startWorker(entry, { name: 'views', workerData: inputs }));
  const waiting = new Map<number, { take: (view: View) => void; fail: (error: Error) => void }>();
  for (const worker of workers) {
    worker.on('message', ({ index, view }: { index: number; view: View }) => {
      waiting.get(index)?.take(view);
      waiting.delete(index);
    });
    worker.on('error', (error: Error) => {
      for (const { fail } of waiting.values()) fail(error);
      waiting.clear();
    });
  }
  const one = (index: number) =>
    new Promise<View>((take, fail) => {
      waiting.set(index, { take, fail });
      workers[index % threads]!.postMessage(index);
    });
  return {
    compose: (first, count) => Promise.all(Array.from({ length: count }, (_, i) => one(first + i))),
    close: async () => {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
