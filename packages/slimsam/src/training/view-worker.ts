import { parentPort, workerData } from 'node:worker_threads';
import { type ComposerInputs, viewOf } from './compose-views.ts';

const port = parentPort!;
port.on('message', (index: number) => {
  const view = viewOf(workerData as ComposerInputs, index);
  const arrays = [view.pixels, view.targets].map(({ buffer }) => buffer as ArrayBuffer);
  port.postMessage({ index, view }, arrays);
});
