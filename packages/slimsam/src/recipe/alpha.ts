/**
 * The weight of the intermediates in an aligning loss, by epoch n: 'constant' is `value` for n < `until`, then 0 (stage 1); 'falling' is
 * (N - n - 1) / N for n < N = `until`, then 0 (stage 2). A function gets epoch and epochs.
 */
export type Alpha =
  | { readonly schedule: 'constant'; readonly value: number; readonly until: number }
  | { readonly schedule: 'falling'; readonly until: number }
  | ((epoch: number, epochs: number) => number);

/** The weight at an epoch. @throws when it is not in [0, 1] */
export function alphaAt(alpha: Alpha | undefined, epoch: number, epochs: number): number {
  const a = valueAt(alpha, epoch, epochs);
  if (a >= 0 && a <= 1) return a;
  throw new Error(`alpha: expected a value in [0, 1] at epoch ${epoch}, got ${a}`);
}

function valueAt(alpha: Alpha | undefined, epoch: number, epochs: number): number {
  if (alpha === undefined) return 0;
  if (typeof alpha === 'function') return alpha(epoch, epochs);
  if (epoch >= alpha.until) return 0;
  return alpha.schedule === 'constant' ? alpha.value : (alpha.until - epoch - 1) / alpha.until;
}
