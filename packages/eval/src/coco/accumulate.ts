import { hit, outside } from './match.ts';

/** Numbers of several axes, row by row; -1 where there is nothing to measure. */
export interface Grid {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** A grid of -1. */
export function emptyGrid(shape: readonly number[]): Grid {
  return { shape, data: new Float64Array(shape.reduce((product, size) => product * size, 1)).fill(-1) };
}

/** Mean over what is set, -1 if nothing is. */
export function meanOfSet(values: Iterable<number>): number {
  let [sum, count] = [0, 0];
  for (const value of values) {
    if (value <= -1) continue;
    sum += value;
    count++;
  }
  return count === 0 ? -1 : sum / count;
}

/**
 * Precision at the recall thresholds, and the largest recall, of outcomes by falling score.
 *
 * @param outcomes [N] of `hit` and `outside`
 * @param scores [N]
 * @param annotations those that count; above 0
 */
export function precisionRecall(
  outcomes: Uint8Array,
  scores: Float64Array,
  { annotations, recalls }: { annotations: number; recalls: Float64Array },
): { precision: Float64Array; scores: Float64Array; recall: number } {
  const N = outcomes.length;
  const recallAt = new Float64Array(N);
  const precisionAt = new Float64Array(N);
  let [right, wrong] = [0, 0];
  for (let i = 0; i < N; i++) {
    const outcome = outcomes[i]!;
    if (!(outcome & outside)) {
      if (outcome & hit) right++;
      else wrong++;
    }
    recallAt[i] = right / annotations;
    precisionAt[i] = right / (wrong + right + Number.EPSILON);
  }
  for (let i = N - 1; i > 0; i--) if (precisionAt[i]! > precisionAt[i - 1]!) precisionAt[i - 1] = precisionAt[i]!;
  const precision = new Float64Array(recalls.length);
  const scoreAt = new Float64Array(recalls.length);
  for (let r = 0, i = 0; r < recalls.length; r++) {
    while (i < N && recallAt[i]! < recalls[r]!) i++;
    if (i === N) break;
    precision[r] = precisionAt[i]!;
    scoreAt[r] = scores[i]!;
  }
  return { precision, scores: scoreAt, recall: N > 0 ? recallAt[N - 1]! : 0 };
}
