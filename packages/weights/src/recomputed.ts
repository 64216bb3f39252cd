import * as tf from '@tensorflow/tfjs-core';
import { checkFields } from './check-fields.ts';
import { discard, givenAway, newTape, recomputedName, record, walkBack } from './tape.ts';
import type { Weights } from './weights.ts';

/**
 * Runs a part of a loss that keeps nothing but its inputs and outputs for the backward pass, which runs it again: its intermediates
 * take memory for one part at a time, at the price of one more forward pass (Chen et al. 2016, Training Deep Nets with Sublinear Memory
 * Cost). Where no gradients are recorded the part simply runs.
 *
 * @param inputs all tensors that gradients go to from this part
 * @param run pure: the outputs by name, of these inputs
 * @returns the outputs; their gradients are those that they would have otherwise, up to rounding
 */
export function recomputed<T extends Weights>(inputs: Weights, run: (inputs: Weights) => T): T {
  checkFields('recomputed', { inputs, run }, { inputs: 'object', run: 'function' });
  const { state } = tf.engine();
  if (state.gradientDepth === 0 || state.kernelDepth > 0) return tf.tidy(() => run(inputs) as tf.NamedTensorMap) as T;
  const { gradientDepth } = state;
  state.gradientDepth = 0; // nothing is recorded
  let outputs: tf.NamedTensorMap;
  let saved: tf.Tensor[];
  try {
    outputs = tf.tidy(() => distinct(run(inputs), inputs));
    saved = Object.values(inputs).map((x) => tf.keep(tf.clone(x)));
  } finally {
    state.gradientDepth = gradientDepth;
  }
  const names = Object.keys(inputs);
  const again = Object.fromEntries(names.map((name, i) => [name, saved[i]!]));
  state.activeTape.push({
    id: state.nextTapeNodeId++,
    kernelName: recomputedName,
    inputs: { ...inputs },
    outputs: Object.values(outputs),
    saved,
    gradient: (dys) => {
      const seeds = dys.map((dy) => (dy && !givenAway.has(dy) ? tf.clone(dy) : dy));
      // all at once, and before the thunks: TensorFlow.js tidies each on its own
      const gradients = gradientsOf(again, () => distinct(run(again), again), seeds);
      return Object.fromEntries(names.map((name) => [name, () => gradients[name] ?? tf.zerosLike(again[name]!)]));
    },
  });
  return outputs as T;
}

/** The outputs as tensors of their own, so that each has one gradient. */
function distinct(outputs: Weights, inputs: Weights): tf.NamedTensorMap {
  const seen = new Set(Object.values(inputs).map(({ id }) => id));
  const entries = Object.entries(outputs).map(([name, x]) => {
    const own = seen.has(x.id) ? tf.clone(x) : x;
    seen.add(own.id);
    return [name, own] as const;
  });
  return Object.fromEntries(entries);
}

/** Runs the part on a tape of its own and walks back from its outputs' gradients, which are disposed. */
function gradientsOf(
  inputs: Weights,
  run: () => tf.NamedTensorMap,
  seeds: readonly (tf.Tensor | null | undefined)[],
): Weights {
  if (tf.engine().state.gradientDepth > 0)
    throw new Error('recomputed: expected one differentiation, got one within another; recompute only first gradients');
  const tape = newTape();
  const from = new Map<number, tf.Tensor>();
  try {
    Object.values(record(tape, run)).forEach((output, i) => {
      if (seeds[i]) from.set(output.id, seeds[i]);
      output.dispose(); // what the gradients need is saved
    });
    return walkBack(tape, from, inputs);
  } catch (error) {
    discard(tape);
    throw error;
  } finally {
    tf.dispose(seeds.filter((dy) => dy != null)); // those that the walk did not come by
  }
}
