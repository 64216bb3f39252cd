/** The program of a worker: runs tasks one after another, until the port closes. */
import { parentPort } from 'node:worker_threads';
import { runTask } from './run-task.ts';
import type { DecodeTask, FromWorker, ToWorker } from './task.ts';

const port = parentPort;
if (!port) throw new Error('decode-worker: expected to run as a worker thread');
const waiting = new Map<number, DecodeTask>();
let running = false;

port.on('message', (message: ToWorker) => {
  if ('leave' in message) {
    for (const id of message.leave) if (waiting.delete(id)) answer({ id, decoded: { kind: 'left' } });
    return;
  }
  waiting.set(message.id, message.task);
  if (!running) void runAll();
});

async function runAll(): Promise<void> {
  running = true;
  for (const [id, task] of waiting) {
    waiting.delete(id);
    answer({ id, decoded: await runTask(task) });
  }
  running = false;
}

function answer(message: FromWorker): void {
  const { decoded } = message;
  port!.postMessage(message, decoded.kind === 'image' ? [decoded.image.data.buffer as ArrayBuffer] : []);
}
