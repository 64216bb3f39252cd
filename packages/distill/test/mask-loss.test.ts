import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { maskLoss } from '../src/index.ts';
import { numbers, relativeError, withWebgpu } from './support.ts';

withWebgpu();

const [N, M, h, w] = [3, 4, 5, 7];
const logits = numbers(N * M * h * w, 1).map((x) => 4 * x);
const targets = numbers(N * h * w, 2).map((x) => (x > 0.2 ? 1 : 0));
const scores = numbers(N * M, 3).map((x) => 0.5 + 0.5 * x);

/** In float64, written from the formulas. */
function reference(x: readonly number[]) {
  const size = h * w;
  let [focal, dice, iou] = [0, 0, 0];
  for (let n = 0; n < N; n++) {
    const t = targets.slice(n * size, (n + 1) * size);
    const masks = Array.from({ length: M }, (_, m) => {
      const logit = x.slice((n * M + m) * size, (n * M + m + 1) * size);
      const p = logit.map((value) => 1 / (1 + Math.exp(-value)));
      const terms = p.map((p, i) => (t[i] ? -0.25 * (1 - p) ** 2 * Math.log(p) : -0.75 * p ** 2 * Math.log(1 - p)));
      const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
      const union = logit.filter((value, i) => value > 0 || t[i]).length;
      const real = logit.filter((value, i) => value > 0 && t[i]).length / union;
      iou += (scores[n * M + m]! - real) ** 2 / (N * M);
      return { focal: sum(terms) / size, dice: 1 - (2 * sum(p.map((p, i) => p * t[i]!)) + 1) / (sum(p) + sum(t) + 1) };
    });
    masks.sort((a, b) => 20 * a.focal + a.dice - 20 * b.focal - b.dice);
    focal += masks[0]!.focal / N;
    dice += masks[0]!.dice / N;
  }
  return { total: 20 * focal + dice + iou, parts: { focal, dice, iou } };
}

test('value and gradients: only the best mask of a prompt and all scores learn', async () => {
  const inputs = [
    tf.tensor4d(logits, [N, M, h, w]),
    tf.tensor2d(scores, [N, M]),
    tf.tensor3d(targets, [N, h, w]),
  ] as const;
  const [x, s, t] = inputs;
  const wanted = reference(logits);
  const { total, parts } = maskLoss({ logits: x, scores: s, targets: t });
  expect((await total.data())[0]).toBeCloseTo(wanted.total, 5);
  for (const [name, value] of Object.entries(wanted.parts))
    expect((await parts[name]!.data())[0], name).toBeCloseTo(value, 5);

  const [dx, ds] = tf.grads(
    (x, s) => maskLoss({ logits: x as tf.Tensor4D, scores: s as tf.Tensor2D, targets: t }).total,
  )([x, s]);
  const step = 1e-4;
  const differences = logits.map((_, i) => {
    const at = (change: number) => reference(logits.map((value, j) => (j === i ? value + change : value))).total;
    return (at(step) - at(-step)) / (2 * step);
  });
  expect(relativeError(await dx!.data(), differences)).toBeLessThan(1e-4);
  expect(differences.filter((d) => d !== 0)).toHaveLength(N * h * w); // one mask of M
  expect((await ds!.data()).every((d) => d !== 0)).toBe(true);
});

test('shapes that disagree are refused', () => {
  const prediction = { logits: tf.zeros([2, 3, 4, 4]), scores: tf.zeros([2, 3]), targets: tf.zeros([3, 4, 4]) };
  expect(() => maskLoss(prediction as Parameters<typeof maskLoss>[0])).toThrow(
    'maskLoss: expected scores [2, 3] and targets [2, 4, 4]',
  );
});
