import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from './weights.ts';

type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];
type TapeNode = Tape[number];

/** A loss and its gradients by name; the caller disposes both. */
export interface ValueAndGradients {
  /** [] */
  readonly value: tf.Scalar;
  /** Of the weights' shapes, for those that the loss reaches. */
  readonly gradients: Weights;
}

/**
 * Differentiates a scalar loss by the weights. What the forward pass has saved, and the gradient of each intermediate, is freed as
 * soon as the backward pass has used it; TensorFlow.js's `grads` holds everything to its end.
 *
 * @throws when the loss is no scalar or depends on no weight, an op on the way has no gradient, or another differentiation is under way; all is freed by then
 */
export function valueAndGradients(weights: Weights, loss: () => tf.Scalar): ValueAndGradients {
  const { state } = tf.engine();
  if (state.gradientDepth > 0)
    throw new Error('valueAndGradients: expected no differentiation under way, got one; use tf.grads in there');
  const tape = newTape();
  state.activeTape = tape;
  let value: tf.Scalar | undefined;
  try {
    state.gradientDepth++;
    try {
      value = tf.tidy(() => tf.clone(loss()));
    } finally {
      state.gradientDepth--;
    }
    if (value.rank !== 0)
      throw new Error(`valueAndGradients: expected a scalar loss, got shape [${value.shape}]; take a mean`);
    const gradients = walkBack(tape, value, weights);
    if (Object.keys(gradients).length === 0)
      throw new Error('valueAndGradients: expected a loss that depends on a weight, got one that depends on none');
    return { value, gradients };
  } catch (error) {
    value?.dispose();
    for (const { saved } of tape) tf.dispose(saved ?? []);
    throw error;
  } finally {
    tape.length = 0;
  }
}

/** Ops whose gradients ask for no more than the shapes of what they save (tfjs-core 4.22, src/gradients). */
const wantShapes: ReadonlySet<string> = new Set([
  ...[tf.Reshape, tf.ExpandDims, tf.Slice, tf.PadV2, tf.Concat, tf.Pack],
  ...[tf.Add, tf.Sub, tf.AddN, tf.Sum, tf.Mean],
]);

/** A tape that keeps only the shapes where they are all that is wanted: a disposed tensor still has one. */
function newTape(): Tape {
  const tape: Tape = [];
  tape.push = (...nodes) => {
    for (const { kernelName, saved } of nodes) if (wantShapes.has(kernelName)) tf.dispose(saved ?? []);
    return Array.prototype.push.apply(tape, nodes);
  };
  return tape;
}

/**
 * Sorts nodes by the longest way from a source to them. The terms of a loss that look into a model then stand beside what they look
 * at, and their gradients, as large as that, are made when the walk comes by and not all at its start.
 */
function sortByDepth(tape: Tape): void {
  const depths = new Map<number, number>(); // by the tensor's id
  const depthOf = (node: TapeNode) => depths.get(node.outputs[0]!.id)!;
  for (const { inputs, outputs } of tape) {
    const depth = 1 + Math.max(0, ...Object.values(inputs).map(({ id }) => depths.get(id) ?? 0));
    for (const { id } of outputs) depths.set(id, depth);
  }
  tape.sort((a, b) => depthOf(a) - depthOf(b));
}

/** Takes the nodes off the tape, last first, and passes gradients on from their outputs to their inputs. */
function walkBack(tape: Tape, value: tf.Scalar, weights: Weights): Weights {
  const list = Object.entries(weights);
  const reached = new Set(list.map(([, { id }]) => id)); // tensors that depend on a weight
  for (const { inputs, outputs } of tape)
    if (Object.values(inputs).some(({ id }) => reached.has(id))) for (const { id } of outputs) reached.add(id);

  sortByDepth(tape);

  const gradients = new Map<number, tf.Tensor>([[value.id, tf.onesLike(value)]]); // by the tensor's id
  try {
    for (let node = tape.at(-1); node; node = tape.at(-1)) {
      passOn(node, reached, gradients);
      for (const { id } of node.outputs) {
        gradients.get(id)?.dispose();
        gradients.delete(id);
      }
      tf.dispose(node.saved ?? []);
      tape.pop();
    }
    const found = list.filter(([, { id }]) => gradients.has(id));
    return Object.fromEntries(found.map(([name, { id }]) => [name, tf.clone(gradients.get(id)!)])); // tied weights have one
  } finally {
    tf.dispose([...gradients.values()]);
  }
}

/** Adds to the gradients of a node's inputs, when its outputs have any. */
function passOn(node: TapeNode, reached: ReadonlySet<number>, gradients: Map<number, tf.Tensor>): void {
  const dys = node.outputs.map(({ id }) => gradients.get(id));
  const inputs = Object.entries(node.inputs).filter(([, { id }]) => reached.has(id));
  if (inputs.length === 0 || dys.every((dy) => dy === undefined)) return;
  const ids = [...new Set(inputs.map(([, { id }]) => id))]; // x * x has one input twice
  const sums = tf.tidy(() => {
    if (!node.gradient) throw new Error(`valueAndGradients: expected a gradient of ${node.kernelName}, got none`);
    const thunks = node.gradient(dys as tf.Tensor[]); // it makes zeros of those that are undefined
    const sums = new Map<number, tf.Tensor>();
    for (const [name, x] of inputs) {
      const dx = thunks[name]?.();
      if (dx?.shape.join() !== x.shape.join() || dx.dtype !== 'float32')
        throw new Error(
          `valueAndGradients: expected ${node.kernelName}'s gradient by '${name}' as float32 [${x.shape}], got ${dx ? `${dx.dtype} [${dx.shape}]` : 'none'}`,
        );
      const before = sums.get(x.id) ?? gradients.get(x.id);
      sums.set(x.id, before ? tf.add(before, dx) : tf.clone(dx)); // cloned, for it may be dy itself
    }
    return ids.map((id) => sums.get(id)!);
  });
  ids.forEach((id, i) => {
    gradients.get(id)?.dispose();
    gradients.set(id, sums[i]!);
  });
}
