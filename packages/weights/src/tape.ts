import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from './weights.ts';

/** The ops of a forward pass, in order, and what their gradients need. */
export type Tape = ReturnType<typeof tf.engine>['state']['activeTape'];
type TapeNode = Tape[number];

/** Ops whose gradients ask for no more than the shapes of what they save (tfjs-core 4.22, src/gradients). */
const wantShapes: ReadonlySet<string> = new Set([
  ...[tf.Reshape, tf.ExpandDims, tf.Slice, tf.PadV2, tf.Concat, tf.Pack],
  ...[tf.Add, tf.Sub, tf.AddN, tf.Sum, tf.Mean],
]);

/** A tape that keeps only the shapes where they are all that is wanted: a disposed tensor still has one. */
export function newTape(): Tape {
  const tape: Tape = [];
  tape.push = (...nodes) => {
    for (const { kernelName, saved } of nodes) if (wantShapes.has(kernelName)) tf.dispose(saved ?? []);
    return Array.prototype.push.apply(tape, nodes);
  };
  return tape;
}

/** Runs ops that go on this tape, whatever else is under way; what they leave is tidied. */
export function record<T extends tf.TensorContainer>(tape: Tape, run: () => T): T {
  const { state } = tf.engine();
  const { activeTape, gradientDepth } = state;
  state.activeTape = tape;
  state.gradientDepth = gradientDepth + 1;
  try {
    return tf.tidy(run);
  } finally {
    state.gradientDepth = gradientDepth;
    state.activeTape = activeTape;
  }
}

let checked = false;

/**
 * Looks once whether TensorFlow.js keeps its tape where this module expects it: no public call gives it.
 *
 * @throws when a recorded op does not come as a node with its name, inputs, outputs and gradient
 */
export function checkTape(): void {
  if (checked) return;
  const { state } = tf.engine();
  const tape = newTape();
  const x = tf.scalar(1);
  const y = record(tape, () => tf.clone(x));
  const [node] = tape;
  const known =
    typeof state.gradientDepth === 'number' &&
    tape.length === 1 &&
    node?.kernelName === tf.Identity &&
    node.inputs?.x?.id === x.id &&
    node.outputs?.[0]?.id === y.id &&
    typeof node.gradient === 'function';
  discard(tape);
  tf.dispose([x, y]);
  if (!known)
    throw new Error(
      `valueAndGradients: expected the tape of @tensorflow/tfjs-core 4.22 with its gradients registered, got another one's (${tf.version_core}); ` +
        'install @tensorflow/tfjs-core ~4.22.0, one copy of it, and in Node a package that registers gradients, such as @slimsam/tensor-webgpu or @tensorflow/tfjs',
    );
  checked = true;
}

/** Frees what the nodes of a tape still save, and empties it. */
export function discard(tape: Tape): void {
  for (const { saved } of tape) tf.dispose(saved ?? []);
  tape.length = 0;
}

/** The nodes of parts that run again in the backward pass. */
export const recomputedName = 'Recomputed';

/** Gradients that the walk back gives away to a node of that name, which disposes them as early as it can. */
export const givenAway: WeakSet<tf.Tensor> = new WeakSet<tf.Tensor>();

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

/**
 * Takes the nodes off the tape, last first, and passes gradients on from their outputs to their inputs.
 *
 * @param gradients where the walk begins: gradients by the tensor's id; it disposes them
 * @returns the gradients of those weights that are reached
 */
export function walkBack(tape: Tape, gradients: Map<number, tf.Tensor>, weights: Weights): Weights {
  const list = Object.entries(weights);
  const reached = new Set(list.map(([, { id }]) => id)); // tensors that depend on a weight
  for (const { inputs, outputs } of tape)
    if (Object.values(inputs).some(({ id }) => reached.has(id))) for (const { id } of outputs) reached.add(id);

  sortByDepth(tape);
  try {
    for (let node = tape.at(-1); node; node = tape.at(-1)) {
      passOn(node, reached, gradients);
      forget(node.outputs, gradients);
      tf.dispose(node.saved ?? []);
      tape.pop();
    }
    const found = list.filter(([, { id }]) => gradients.has(id));
    return Object.fromEntries(found.map(([name, { id }]) => [name, tf.clone(gradients.get(id)!)])); // tied weights have one
  } finally {
    tf.dispose([...gradients.values()]);
  }
}

function forget(tensors: readonly tf.Tensor[], gradients: Map<number, tf.Tensor>): void {
  for (const { id } of tensors) {
    gradients.get(id)?.dispose();
    gradients.delete(id);
  }
}

function giveAway(tensors: readonly tf.Tensor[], gradients: Map<number, tf.Tensor>): void {
  for (const { id } of tensors) {
    const gradient = gradients.get(id);
    if (gradient) givenAway.add(gradient);
    gradients.delete(id);
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
    if (node.kernelName === recomputedName) giveAway(node.outputs, gradients);
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
