import { type Costs, checkFields } from '@slimsam/weights';
import type { Shapes } from '../axis.ts';
import { countMacs, countParameters, type Macs } from '../count.ts';

/** What the pruned model may cost at most. */
export interface Target {
  /** What is counted, in its unit: 'parameters'. */
  readonly name: string;
  readonly atMost: number;
  /** The cost of a model of these shapes; it grows with widths. */
  readonly cost: (shapes: Shapes, costs: Costs | undefined) => number | Promise<number>;
  /** A cost that varies from one time to the next: it is asked seldom, and one kept model is within it. */
  readonly measured?: boolean;
}

/** At most so many parameters, of all weights or of those whose name starts with the prefix. */
export function parametersTarget(atMost: number, options: { readonly prefix?: string } = {}): Target {
  return { name: 'parameters', atMost, cost: (shapes) => countParameters(shapes, options) };
}

/** At most so many multiply-accumulates, by one of `countMacs`' conventions; `plan` then needs `costs`. */
export function macsTarget(atMost: number, options: { readonly convention?: keyof Macs } = {}): Target {
  checkFields('macsTarget', { atMost, options }, { atMost: 'number', options: 'object?' });
  const { convention = 'macs' } = options;
  return {
    name: convention,
    atMost,
    cost: (shapes, costs) => {
      if (costs === undefined) throw new Error(`plan: expected costs for a target of ${convention}, got none`);
      return countMacs(shapes, costs)[convention];
    },
  };
}

/** At most so many bytes of weights, 4 a parameter unless told otherwise. */
export function bytesTarget(
  atMost: number,
  options: { readonly prefix?: string; readonly bytesPerParameter?: number } = {},
): Target {
  checkFields('bytesTarget', { atMost, options }, { atMost: 'number', options: 'object?' });
  const { bytesPerParameter = 4 } = options;
  return { name: 'bytes', atMost, cost: (shapes) => bytesPerParameter * countParameters(shapes, options) };
}

/** At most so many milliseconds, by your own measurement of a model of these shapes (random weights do). */
export function latencyTarget(atMost: number, measure: (shapes: Shapes) => number | Promise<number>): Target {
  return { name: 'milliseconds', atMost, cost: measure, measured: true };
}
