/**
 * Trains the small SAM that the quickstart compresses, on synthetic scenes. Stopped or killed, it goes on where it was:
 *
 *     npx tsx --conditions=@slimsam/source examples/train-teacher.ts
 */
import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { adam, loadTraining, saveTraining, train, warmupCosine } from '@slimsam/distill';
import { writeReport } from '@slimsam/eval';
import { adamStep } from '@slimsam/tensor-webgpu/ops';
import { initSam } from '@slimsam/vit';
import { saveWeights, writeFileAtomic } from '@slimsam/weights';
import { Command } from 'commander';
import { openBackend } from './backend.ts';
import { naturalNumber, positiveInteger } from './options.ts';
import { type TeacherBatch, teacherBatches } from './teacher-batches.ts';
import { teacherConfig as config, teacherSizes as sizes } from './teacher-config.ts';
import { promptedLoss, validate } from './teacher-loss.ts';

const options = new Command('train-teacher')
  .option('--steps <n>', 'training steps', positiveInteger, 6000)
  .option('--batch <n>', 'images a step', positiveInteger, 4)
  .option('--prompts <n>', 'prompts an image', positiveInteger, 6)
  .option('--scenes <n>', 'training scenes', positiveInteger, 3000)
  .option('--seed <n>', 'of scenes, weights and order', naturalNumber, 1)
  .option('--every <n>', 'steps between validations', positiveInteger, 250)
  .option('--out <folder>', 'where the weights go', 'examples/teacher')
  .parse()
  .opts<{ steps: number; batch: number; prompts: number; scenes: number; seed: number; every: number; out: string }>();

// A cross entropy instead of SAM's 20 focal (alpha 0.25, gamma 2): from random weights the latter holds every pixel at 'outside'
// (mIoU 0.00 after 300 steps, not 0.36), and masks that have formed shrink under it (mean dice of 120 steps 0.53, not 0.41).
const focal = { gamma: 0, alpha: 0.5, weight: 4 };

const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('stopped; the same command goes on from the last checkpoint')));
const { adapter, close } = await openBackend('webgpu');
try {
  await mkdir(options.out, { recursive: true });
  const stateFile = `${options.out}/training.safetensors`;
  const saved = existsSync(stateFile) ? await loadTraining(stateFile) : undefined;
  const curve = (saved?.notes as { step: number; loss: number; miou: number; seconds: number }[] | undefined) ?? [];
  const batchOf = teacherBatches(config, { ...options, batchSize: options.batch });
  const perEpoch = options.every;
  let losses: number[] = [];
  let since = performance.now();
  for await (const { position, loss, epochDone, weights, state } of train<TeacherBatch>({
    weights: saved?.state.weights ?? initSam(config, sizes, { seed: options.seed }),
    trainable: (name) => !name.includes('gaussian'),
    loss: ({ weights, batch }) => promptedLoss(weights, config, batch, focal),
    optimizer: adam({ step: adamStep, weightDecay: 0.02 }),
    learningRate: warmupCosine({ peak: 1e-3, warmup: 200, steps: options.steps }),
    epochs: Math.ceil(options.steps / perEpoch),
    *batches(epoch, startBatch) {
      for (let i = startBatch; i < perEpoch; i++) yield batchOf(epoch * perEpoch + i);
    },
    resume: saved?.state,
    signal: stop.signal,
  })) {
    losses.push(loss);
    if (position.step % 10 === 0) {
      const mean = losses.slice(-50).reduce((sum, x) => sum + x, 0) / Math.min(50, losses.length);
      console.log(
        `step ${position.step} of ${options.steps}  loss ${mean.toFixed(4)}  ${((performance.now() - since) / 1000).toFixed(0)} s`,
      );
    }
    if (!epochDone) continue;
    const seconds = Math.round((performance.now() - since) / 1000);
    const miou = await validate(weights, config, { scenes: 16, seed: 900_000_000 });
    curve.push({ step: position.step, loss: losses.reduce((sum, x) => sum + x, 0) / losses.length, miou, seconds });
    console.log(`step ${position.step}  validation mIoU ${miou.toFixed(4)} with one point`);
    [losses, since] = [[], performance.now()];
    await saveTraining(stateFile, state, { notes: curve });
    await saveWeights(`${options.out}/teacher.safetensors`, weights, { dtype: 'F16' });
    const command =
      `npx tsx --conditions=@slimsam/source examples/train-teacher.ts ${process.argv.slice(2).join(' ')}`.trim();
    await writeFileAtomic(`${options.out}/config.json`, `${JSON.stringify(config, null, 2)}\n`);
    await writeFileAtomic(
      `${options.out}/training.json`,
      `${JSON.stringify({ command, ...options, adapter, curve }, null, 2)}\n`,
    );
    const plots = (['miou', 'loss'] as const).map((y) => ({
      title: y === 'miou' ? 'mIoU with one point on unseen scenes' : 'Training loss',
      x: 'step',
      y: y === 'miou' ? 'mIoU' : 'loss',
      curves: [{ name: y, points: curve.map((at) => [at.step, at[y]] as const) }],
    }));
    const { pictures } = await writeReport({ folder: 'out/teacher', title: 'Teacher', plots });
    for (const [i, name] of ['miou', 'loss'].entries()) await copyFile(pictures[i]!, `${options.out}/${name}.png`);
  }
} finally {
  close();
}
