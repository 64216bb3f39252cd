/**
 * Time of JavaScript alone, beside tfjs-backend-webgpu in the same process: on Dawn's null adapter, which computes nothing.
 *
 *     npm run bench:host [-- --rounds 40 --json host.json]
 */
import { useWebgpu, type WebgpuBackend } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
import * as dawn from 'webgpu';
import { benchOptions } from '../packages/tensor-webgpu/bench/options.ts';
import { importPeer, installPeers } from '../packages/tensor-webgpu/bench/peers/install.ts';
import { writeJson } from '../packages/tensor-webgpu/bench/report.ts';
import { hostEncode, hostStep } from './cases/host-sam.ts';
import { countDispatches } from './dispatches.ts';

const calls = 200; // of an op in a row; the best of the rounds, for machines that do other things too

const { rounds, json } = benchOptions({ rounds: 40 });
const backend = await openNull();
installPeers();
await importPeer('@tensorflow/tfjs-backend-webgpu');
await tf.setBackend('webgpu');
await tf.ready();

const ops: Readonly<Record<string, (a: tf.Tensor2D, b: tf.Tensor2D) => tf.Tensor>> = {
  add: tf.add,
  matmul: (a, b) => tf.matMul(a, b),
  transpose: (a) => tf.transpose(a),
  softmax: (a) => tf.softmax(a),
};
const rows = [];
for (const [name, op] of Object.entries(ops)) {
  const best: Record<string, number> = { 'slimsam-webgpu': Number.POSITIVE_INFINITY, webgpu: Number.POSITIVE_INFINITY };
  for (let round = 0; round < rounds; round++)
    for (const other of Object.keys(best)) best[other] = Math.min(best[other]!, await microseconds(other, op));
  const [ours, theirs] = [best['slimsam-webgpu']!, best.webgpu!];
  rows.push({ case: name, ours, 'tfjs-backend-webgpu': theirs });
  console.log(
    `${name.padEnd(10)} ${ours.toFixed(1)} us a call, tfjs-backend-webgpu ${theirs.toFixed(1)}: ${(ours / theirs).toFixed(2)}`,
  );
}

await tf.setBackend('slimsam-webgpu');
for (const [name, run] of Object.entries({
  'encode, 12 blocks 192 wide at 512 pixels': hostEncode(),
  'training step of the quickstart': hostStep(),
})) {
  const { dispatches, milliseconds } = await best(run);
  rows.push({ case: name, dispatches, milliseconds });
  console.log(`${name}: ${dispatches} dispatches, ${milliseconds.toFixed(1)} ms`);
}
if (json) await writeJson(json, rows);
process.exit(0); // the peer's adapter keeps the process

/** Our backend on the null adapter, as if it had room for the bindings of our gradients: what it says of them goes unheard. */
async function openNull(): Promise<WebgpuBackend> {
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(['backend=null']);
  const navigator = { gpu, userAgent: 'node', hardwareConcurrency: 2 };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true, writable: true });
  const requestAdapter = async () => {
    const adapter = (await gpu.requestAdapter())!;
    const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
      const device = await adapter.requestDevice(descriptor);
      device.addEventListener('uncapturederror', (event) => {
        event.preventDefault();
        event.stopImmediatePropagation();
      });
      return device;
    };
    const { features, limits, info } = adapter;
    return { features, limits, info, requestDevice } as GPUAdapter;
  };
  const opened = await useWebgpu({ gpu: { requestAdapter } as GPU });
  Object.assign(opened, { facts: { ...opened.facts, storageBuffers: 16 } });
  return opened;
}

async function microseconds(name: string, op: (a: tf.Tensor2D, b: tf.Tensor2D) => tf.Tensor): Promise<number> {
  await tf.setBackend(name);
  const [a, b] = [tf.ones<tf.Rank.R2>([64, 64]), tf.ones<tf.Rank.R2>([64, 64])];
  const start = performance.now();
  for (let i = 0; i < calls; i++) op(a, b).dispose();
  const milliseconds = performance.now() - start;
  tf.dispose([a, b]);
  return (milliseconds * 1000) / calls;
}

/** The best of the runs, without a turn of the event loop between them. */
async function best(run: () => void): Promise<{ dispatches: number; milliseconds: number }> {
  const dispatches = await countDispatches(backend, run);
  let milliseconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds / 2; round++) {
    const start = performance.now();
    run();
    milliseconds = Math.min(milliseconds, performance.now() - start);
  }
  return { dispatches, milliseconds };
}
