import { climb, type Ladder, stepsByScore } from '../ladder.ts';
import { budgetsOf } from '../select.ts';
import type { Target } from './targets.ts';

export interface SolveOptions {
  readonly ladders: readonly Ladder[];
  /** The ratios whose proportions are kept. */
  readonly ratioOf: (dimension: string) => number;
  readonly target: Target;
  /** The cost at a number of steps of each ladder. */
  readonly costAt: (steps: readonly number[]) => number | Promise<number>;
}

/**
 * The most steps of each ladder whose cost is within the target: all ratios are scaled by one factor, found by bisection, and then single
 * steps come back, best first, as long as they fit. No further step would.
 * @throws when even the least widths cost more, naming what they cost
 */
export async function solveTarget(options: SolveOptions): Promise<{ steps: number[]; cost: number }> {
  const { ladders, ratioOf, target, costAt } = options;
  const { name, atMost, measured } = target;
  if (!(atMost > 0 && atMost < Infinity))
    throw new Error(`plan: expected a target of more than 0 ${name}, got ${atMost}`);
  const order = stepsByScore(ladders);
  const largest = Math.max(...ladders.flatMap(({ dimensions }) => dimensions.map(({ name }) => ratioOf(name))));
  if (!(largest > 0)) throw new Error('plan: expected a ratio above 0 to scale to the target, got none');
  const known = new Map<string, number>();
  const priced = async (steps: number[]) => {
    const cost = known.get(steps.join()) ?? (await costAt(steps));
    known.set(steps.join(), cost);
    if (!Number.isFinite(cost)) throw new Error(`plan: expected a finite cost in ${name}, got ${cost}`);
    return { steps, cost };
  };
  const at = (factor: number) =>
    priced(
      climb(
        ladders,
        budgetsOf(ladders, (d) => ratioOf(d) * factor),
        order,
      ),
    );
  const whole = await at(0);
  if (whole.cost <= atMost) return whole;
  // the most that a ratio can remove leaves the minima of the dimensions with the largest ratio
  let [low, high] = [0, (1 - 1e-9) / largest];
  let best = await at(high);
  if (best.cost > atMost)
    throw new Error(
      `plan: expected a target that some ratio reaches, got ${atMost} ${name}; the least is ${best.cost}: lower the minimum widths`,
    );
  for (let i = 0; i < (measured ? 10 : 40) && best.cost !== atMost; i++) {
    const middle = (low + high) / 2;
    const found = await at(middle);
    if (found.cost <= atMost) [best, high] = [found, middle];
    else low = middle;
  }
  if (measured) return best;
  const ended = new Set<number>();
  for (const { ladder, step } of order) {
    if (ended.has(ladder) || step < best.steps[ladder]!) continue;
    const more = await priced(best.steps.map((steps, i) => (i === ladder ? step + 1 : steps)));
    if (more.cost <= atMost) best = more;
    else ended.add(ladder);
  }
  return best;
}
