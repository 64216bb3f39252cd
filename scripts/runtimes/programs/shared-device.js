// onnxruntime-web (as ort on the page) and tensor-webgpu in turns on one GPUDevice: the same embedding, and ours leaves the device open
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { encodeImage, loadSam } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';

const ort = await import(new URL('/ort.webgpu.bundle.min.mjs', location.href).href);
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = '/';
const session = await ort.InferenceSession.create('/encoder.onnx', { executionProviders: ['webgpu'] });
const device = await ort.env.webgpu.device;
const backend = await useWebgpu({ device });
const { weights, config } = await loadSam('/sam.safetensors');
const side = config.imageSize;
let largest = 0;
for (let round = 0; round < 3; round++) {
  const pixels = Float32Array.from({ length: 3 * side * side }, (_, i) => Math.sin((round + 1) * i * 0.37));
  const input = new ort.Tensor('float32', pixels, [1, 3, side, side]);
  const results = await session.run({ [session.inputNames[0]]: input });
  const theirs = await results[session.outputNames[0]].getData();
  const embedding = tf.tidy(() => encodeImage(weights, config, tf.tensor4d(pixels, [1, 3, side, side])).embedding);
  const ours = await embedding.data();
  embedding.dispose();
  if (ours.length !== theirs.length) throw new Error(`${ours.length} values, ${theirs.length} of onnxruntime`);
  for (const [i, value] of ours.entries()) largest = Math.max(largest, Math.abs(value - theirs[i]));
}
backend.dispose();
const input = new ort.Tensor('float32', new Float32Array(3 * side * side), [1, 3, side, side]);
const after = await session.run({ [session.inputNames[0]]: input });
const open = (await after[session.outputNames[0]].getData()).every(Number.isFinite);
document.title = JSON.stringify({ largest, open });
