/** The same small pipeline on every backend that is installed: the teacher's masks and a training step's gradients. Prints a table. */
import { fileURLToPath } from 'node:url';
import { generateScene } from '@slimsam/scenes';
import { createPredictor, encodeImage, loadSam, preprocess, type Sam } from '@slimsam/vit';
import { disposeWeights, valueAndGradients } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { backends, openBackend } from 'slimsam/node';

const { image, annotations } = generateScene(910_000_001, { width: 256, height: 256 });
const points = annotations.map(({ point }) => [point]);

/** Milliseconds: the median of five, after a first that compiles. */
async function timed<T>(work: () => Promise<T>): Promise<{ milliseconds: number; result: T }> {
  let result = await work();
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    result = await work();
    times.push(performance.now() - start);
  }
  return { milliseconds: times.sort((a, b) => a - b)[2]!, result };
}

async function masks({ weights, config }: Sam): Promise<Float32Array> {
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(image);
  const prediction = await predictor.predict(embedded, { points });
  const logits = (await prediction.lowRes.data()) as Float32Array;
  embedded.dispose();
  prediction.dispose();
  return logits;
}

/** Of every encoder weight, by the mean square of the embedding. */
async function gradients({ weights, config }: Sam): Promise<Float32Array> {
  const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith('image_encoder.')));
  const { pixels } = preprocess(image, config);
  const loss = () => tf.mean(tf.square(encodeImage(encoder, config, pixels).embedding)) as tf.Scalar;
  const made = valueAndGradients(encoder, loss);
  const all = await Promise.all(Object.values(made.gradients).map((gradient) => gradient.data()));
  tf.dispose([pixels, made.value, made.gradients]);
  return Float32Array.from(all.flatMap((values) => Array.from(values as Float32Array)));
}

/** The largest difference, as a share of the largest value. */
function difference(ours: Float32Array, theirs: Float32Array): string {
  let most = 0;
  let largest = 0;
  ours.forEach((value, i) => {
    most = Math.max(most, Math.abs(value - theirs[i]!));
    largest = Math.max(largest, Math.abs(value));
  });
  return ours === theirs ? '' : (most / largest).toExponential(1);
}

const teacher = fileURLToPath(new URL('teacher/', import.meta.url));
let first: { logits: Float32Array; slopes?: Float32Array } | undefined;
const rows = [['backend', 'computes on', 'masks, ms', 'differ by', 'gradients, ms', 'differ by']];
for (const name of backends.filter((name) => name !== 'auto')) {
  try {
    const { adapter, close } = await openBackend(name);
    const sam = await loadSam(teacher);
    const forward = await timed(() => masks(sam));
    const backward = name === 'wasm' ? undefined : await timed(() => gradients(sam)); // it has no kernels for training
    const logits = forward.result;
    const slopes = backward?.result;
    first ??= { logits, ...(slopes && { slopes }) };
    const trained = slopes && first.slopes ? difference(first.slopes, slopes) : '';
    const times = [forward.milliseconds.toFixed(0), backward?.milliseconds.toFixed(0) ?? 'inference only'];
    rows.push([name, adapter, times[0]!, difference(first.logits, logits), times[1]!, trained]);
    disposeWeights(sam.weights);
    close();
  } catch (error) {
    rows.push([name, (error instanceof Error ? error.message : String(error)).split('; ')[0]!, '', '', '', '']);
  }
}
rows.splice(1, 0, ['-', '-', '-:', '-:', '-:', '-:']);
for (const row of rows) console.log(`| ${row.join(' | ')} |`);
