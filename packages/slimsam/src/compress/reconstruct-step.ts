import { channelOrigins, type Plan } from '@slimsam/prune';
import { layerNorm, linear } from '@slimsam/tensor-webgpu/ops';
import { encoderBlock, type SamConfig } from '@slimsam/vit';
import { disposeWeights, scope, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { sample } from '../photographs/order.ts';
import type { ReconstructStep } from '../recipe/recipe.ts';
import { type Context, pixelsOf, unreadable } from './context.ts';
import { enteringStream } from './entering-stream.ts';
import type { StageEvent } from './events.ts';
import { addSums, fitLinear, type Sums } from './least-squares.ts';
import type { StepResult } from './run-store.ts';

/** A model before the pruning, and which of its channels a slim one has. */
interface Reference {
  readonly weights: Weights;
  /** Positions in the last axis of what a bias is added to. */
  readonly kept: (bias: string) => tf.Tensor1D;
}

interface Inputs {
  readonly step: ReconstructStep;
  readonly index: number;
  readonly weights: Weights;
  readonly plan: Plan;
  /** The model before the last pruning. */
  readonly previous: { readonly weights: Weights; readonly plan: Plan | undefined };
}

/**
 * Fits the linear layers of a pruned SAM encoder anew, block by block and layer by layer, by least squares on some photographs: q, k and v
 * and the hidden layers to those of the model before the pruning, and what attention and MLP add to the stream to what brings it to that
 * model's stream, so that each layer makes good what those before it lost. The tensors are new.
 *
 * @throws when the model is no SAM or no photograph can be read
 */
export async function* reconstructStep(
  context: Context,
  { step, index, weights, plan, previous }: Inputs,
): AsyncGenerator<StageEvent, StepResult, undefined> {
  const { network, seen, seed, signal } = context;
  const config = network.sam!;
  const { name, layers = 'all' } = step;
  const chosen = sample(seen, { size: Math.min(seen.length, step.sample ?? 48), seed: seed * 31 + index });
  const depth = network.taps(weights).bottleneck.mlpHidden.length;
  yield { type: 'phase', kind: 'reconstruct', index, name, done: 0, total: depth };
  const student: Record<string, tf.Tensor> = Object.fromEntries(
    Object.entries(weights).map(([key, weight]) => [key, tf.clone(weight)]),
  );
  const tables = network.relativePositions?.(student) ?? {}; // its blocks read these meanwhile
  const tablesBefore = network.relativePositions?.(previous.weights) ?? {};
  const ownTables = Object.fromEntries(Object.keys(tables).map((key) => [key, student[key]!]));
  const streams: Streams[] = [];
  try {
    for await (const { pixels } of pixelsOf(context, chosen)) {
      const enter = (from: Weights) => enteringStream(network, { weights: from, pixels });
      streams.push({ own: enter(student), before: enter(previous.weights) });
    }
    if (streams.length === 0) throw unreadable(context.photographs);
    Object.assign(student, tables);
    const reference = { weights: { ...previous.weights, ...tablesBefore }, kept: keptOf(plan, previous.plan) };
    for (let block = 0; block < depth; block++) {
      signal?.throwIfAborted();
      reconstructBlock(student, { config, block, reference, streams, layers });
      await streams[0]!.own.data(); // the device keeps up
      yield { type: 'scored', index, name, done: block + 1, total: depth };
    }
    const neck = previous.weights['image_encoder.neck.0.weight']!;
    const flat = { weight: tf.reshape(neck, [neck.shape[0]!, -1]) };
    refit(
      student,
      'image_encoder.neck.0',
      streams.map(({ own, before }) => () => {
        const wanted = linear(before, flat);
        return [own, wanted, evenly(wanted)];
      }),
    );
    flat.weight.dispose();
    return { weights: Object.assign(student, ownTables), plan };
  } catch (error) {
    disposeWeights(Object.assign(student, ownTables));
    throw error;
  } finally {
    tf.dispose([tables, tablesBefore]);
    for (const { own, before } of streams) tf.dispose([own, before]);
  }
}

/** The streams of a photograph that enter a block. */
interface Streams {
  own: tf.Tensor;
  before: tf.Tensor;
}

/** What the layers of a block are to give for a photograph, and the reference's stream after it. */
type Targets = Record<'qkv' | 'attended' | 'hidden' | 'out' | 'whole', tf.Tensor>;

/** Fits the four layers of a block and moves the streams on. */
function reconstructBlock(
  student: Record<string, tf.Tensor>,
  inputs: {
    readonly config: SamConfig;
    readonly block: number;
    readonly reference: Reference;
    readonly streams: Streams[];
    readonly layers: 'all' | 'outputs';
  },
): void {
  const { config, block, reference, streams } = inputs;
  const prefix = `image_encoder.blocks.${block}`;
  const normed = (weights: Weights, layer: string, x: tf.Tensor) => {
    const weight = scope(weights, `${prefix}.${layer}`);
    return layerNorm(x, { scale: weight('weight'), offset: weight('bias'), epsilon: config.epsilon ?? 1e-6 });
  };
  const queries = inputs.layers === 'all' ? queriesFor(inputs) : undefined;
  const targets = streams.map(
    ({ before }): Targets =>
      tf.tidy(() => {
        const { qkv, attended, out } = encoderBlock(reference.weights, config, before, block);
        const hidden = linear(
          normed(reference.weights, 'norm2', attended),
          layerOf(reference.weights, `${prefix}.mlp.lin1`),
        );
        const asked = queries?.of(qkv);
        const pick = (x: tf.Tensor, layer: string) =>
          tf.gather(x, reference.kept(`${prefix}.${layer}.bias`), x.rank - 1);
        return {
          ...{
            qkv: asked ? withQueries(pick(qkv, 'attn.qkv'), asked) : pick(qkv, 'attn.qkv'),
            attended: pick(attended, 'attn.proj'),
          },
          ...{ hidden: pick(hidden, 'mlp.lin1'), out: pick(out, 'mlp.lin2'), whole: tf.clone(out) },
        };
      }),
  );
  queries?.dispose();
  const fit = (layer: string, pair: (own: tf.Tensor, target: Targets) => Pair) =>
    refit(
      student,
      `${prefix}.${layer}`,
      streams.map(
        ({ own }, i) =>
          () =>
            pair(own, targets[i]!),
      ),
    );
  const run = (own: tf.Tensor) => encoderBlock(student, config, own, block);
  const isMap = (qkv: tf.Tensor, [B, h, w]: readonly number[]) => qkv.shape[0] === B && qkv.shape[1] === h! * w!;
  if (inputs.layers === 'all' && isMap(targets[0]!.qkv, streams[0]!.own.shape))
    // windows are padded: their q, k and v stay as they are
    fit('attn.qkv', (own, { qkv }) => [normed(student, 'norm1', own), qkv]);
  fit('attn.proj', (own, { attended }) => [run(own).heads, tf.sub(attended, own), evenly(attended)]);
  if (inputs.layers === 'all')
    fit('mlp.lin1', (own, { hidden }) => [normed(student, 'norm2', run(own).attended), hidden]);
  fit('mlp.lin2', (own, { out }) => {
    const { hidden, attended } = run(own);
    return [hidden, tf.sub(out, attended), evenly(out)];
  });
  for (const [i, stream] of streams.entries()) {
    const out = tf.tidy(() => run(stream.own).out);
    const { whole, ...others } = targets[i]!;
    tf.dispose([stream.own, stream.before, others]);
    [stream.own, stream.before] = [out, whole];
  }
}

/** The same with other queries, which come first: [B, N, 3 * heads * head]. */
function withQueries(qkv: tf.Tensor, queries: tf.Tensor): tf.Tensor {
  const [B, N, rows] = qkv.shape as [number, number, number];
  const third = rows / 3;
  return tf.concat([queries, tf.slice(qkv, [0, 0, third], [B, N, 2 * third])], 2);
}

/**
 * Where channels of the heads were removed: queries whose products with the kept channels of the keys are nearest to the whole products.
 * With keys k ≈ W k', k' their kept channels, q k ≈ (W' q) k'. Not with relative positions, which meet the queries too.
 */
function queriesFor({
  config,
  block,
  reference,
  streams,
}: {
  readonly config: SamConfig;
  readonly block: number;
  readonly reference: Reference;
  readonly streams: readonly Streams[];
}): { of: (qkv: tf.Tensor) => tf.Tensor; dispose: () => void } | undefined {
  const prefix = `image_encoder.blocks.${block}.attn`;
  const { heads: H } = config;
  const D = reference.weights[`${prefix}.proj.weight`]!.shape[1]! / H;
  const rows = reference.weights[`${prefix}.qkv.bias`]!.size;
  const kept = tf.tidy(() => reference.kept(`${prefix}.qkv.bias`).dataSync());
  const width = kept.length / (3 * H);
  if (`${prefix}.rel_pos_h` in reference.weights || rows !== 3 * H * D || width === D || !Number.isInteger(width))
    return undefined;
  const channels = [...kept.slice(0, width)];
  /** [H, B * N, D] of queries (0) or keys (1). */
  const byHead = (qkv: tf.Tensor, part: number) =>
    tf.transpose(tf.squeeze(tf.slice(tf.reshape(qkv, [-1, 3, H, D]), [0, part, 0, 0], [-1, 1, H, D]), [1]), [1, 0, 2]);
  const sums: (Sums | undefined)[] = Array.from({ length: H }, () => undefined);
  for (const { before } of streams)
    tf.tidy(() => {
      const keys = tf.unstack(byHead(encoderBlock(reference.weights, config, before, block).qkv, 1));
      for (const [head, wanted] of keys.entries())
        sums[head] = addSums(sums[head], { inputs: tf.gather(wanted, channels, 1), wanted, bias: false });
    });
  const maps = tf.tidy(() => {
    const start = tf.cast(tf.transpose(tf.oneHot(tf.tensor1d(channels, 'int32'), D)), 'float32'); // [D, width]
    return tf.stack(sums.map((one) => fitLinear(one!, { weight: start, bias: undefined }).weight)); // [H, D, width]
  });
  for (const one of sums) tf.dispose([one!.gram, one!.cross]);
  return {
    of: (qkv) => {
      const [B, N] = qkv.shape as [number, number];
      const queries = tf.matMul(byHead(qkv, 0), maps); // [H, B * N, width]
      return tf.reshape(tf.transpose(queries, [1, 0, 2]), [B, N, H * width]);
    },
    dispose: () => maps.dispose(),
  };
}

/** Inputs of a layer, what is wanted of them, and how much each counts; equally unless given. */
type Pair = readonly [input: tf.Tensor, wanted: tf.Tensor, counts?: tf.Tensor];

/** What a layer norm reads counts by its variance's inverse, so that a few places of large values do not outweigh all others [..., 1]. */
function evenly(stream: tf.Tensor): tf.Tensor {
  return tf.reciprocal(tf.add(tf.moments(stream, -1, true).variance, 1e-6));
}

/** Fits a linear layer to pairs of inputs and what is wanted of them. */
function refit(weights: Record<string, tf.Tensor>, layer: string, pairs: readonly (() => Pair)[]): void {
  const [weight, bias] = [weights[`${layer}.weight`]!, weights[`${layer}.bias`]];
  let sums: Sums | undefined;
  for (const pair of pairs) {
    tf.tidy(() => {
      const [inputs, wanted, counts] = pair();
      sums = addSums(sums, { inputs, wanted, bias: bias !== undefined, ...(counts && { counts }) });
    });
  }
  const fitted = fitLinear(sums!, { weight, bias });
  const shaped = tf.reshape(fitted.weight, weight.shape);
  tf.dispose([sums!.gram, sums!.cross, fitted.weight, weight]);
  weights[`${layer}.weight`] = shaped;
  if (!bias) return;
  bias.dispose();
  weights[`${layer}.bias`] = fitted.bias!;
}

const layerOf = (weights: Weights, layer: string) => ({
  weight: weights[`${layer}.weight`]!,
  bias: weights[`${layer}.bias`]!,
});

/** Positions in the reference of the outputs that a slim model has, by the name of the bias that is added to them. */
function keptOf(plan: Plan, before: Plan | undefined): Reference['kept'] {
  const [own, theirs] = [channelOrigins(plan), before && channelOrigins(before)];
  return (bias) => {
    const kept = own.get(bias)!.positions[0]!;
    if (!theirs) return tf.tensor1d([...kept], 'int32');
    const places = new Map(theirs.get(bias)!.positions[0]!.map((original, at) => [original, at]));
    return tf.tensor1d(
      kept.map((original) => places.get(original)!),
      'int32',
    );
  };
}
