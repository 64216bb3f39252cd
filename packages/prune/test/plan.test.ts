import '@tensorflow/tfjs-backend-cpu';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Axes, linear, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import {
  applyPlan,
  channelOrigins,
  composePlans,
  formatPlan,
  loadPlan,
  noise,
  type Plan,
  parsePlan,
  plan,
  plannedShapes,
  planPathOf,
  planTable,
  prune,
  savePlan,
} from '../src/index.ts';
import { someScores } from './model-shapes.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const depth = 4;
/** A residual stack of MLPs. */
const axesOf = (count: number): Axes =>
  Object.assign(
    { 'enc.in.weight': ['embed', null] },
    ...Array.from({ length: count }, (_, i) => ({
      ...linear(`enc.blocks.${i}.up`, `blocks.${i}.mlp`, 'embed'),
      ...linear(`enc.blocks.${i}.down`, 'embed', `blocks.${i}.mlp`),
    })),
  );
const makeWeights = (seed: number, mlp = 12): Weights => {
  const shapes: Record<string, number[]> = { 'enc.in.weight': [8, 3], other: [5] };
  for (let i = 0; i < depth; i++) {
    const b = `enc.blocks.${i}`;
    Object.assign(shapes, { [`${b}.up.weight`]: [mlp, 8], [`${b}.up.bias`]: [mlp] });
    Object.assign(shapes, { [`${b}.down.weight`]: [8, mlp], [`${b}.down.bias`]: [8] });
  }
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [name, noise(shape, { seed: seed * 100 + i, sigma: 1 })]),
  );
};
const axes = axesOf(depth);
const mlpScores = (count: number, size = 12) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`blocks.${i}.mlp`, someScores(size, i)]));
const how = { ranking: 'global', normalise: 'mean' } as const;
const embedPlan = (weights: Weights) =>
  plan({ weights, axes, importance: { embed: someScores(8, 9) }, ratio: 0.25, ...how });
const mlpPlan = (weights: Weights, more: { dropBlocks?: number[] } = {}) =>
  plan({ weights, axes, importance: mlpScores(depth), ratio: 0.5, ...how, ...more });

const valuesOf = async (table: Weights) =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(table).map(
        async ([name, t]) => [name, { shape: t.shape, values: [...(await t.data())] }] as const,
      ),
    ),
  );

test('a plan that is saved, read and applied to a fresh copy gives equal bits', async () => {
  const weights = makeWeights(1);
  const made = await mlpPlan(weights);
  expect(made.given).toBe(0.5);
  const folder = await mkdtemp(join(tmpdir(), 'plan-'));
  try {
    const path = planPathOf(join(folder, 'slim.v2.safetensors'));
    expect(path).toBe(join(folder, 'slim.v2.plan.json'));
    await savePlan(path, made);
    const read = await loadPlan(path);
    expect(read).toEqual(made);
    await writeFile(path, `\ufeff${await readFile(path, 'utf8')}`); // a byte order mark, of an editor
    expect(await loadPlan(path)).toEqual(made);
    const wanted = await valuesOf(prune(weights, axes, made.keep));
    expect(await valuesOf(applyPlan(read, makeWeights(1)))).toEqual(wanted);
    const fresh = await valuesOf(applyPlan(read, makeWeights(2)));
    expect(Object.keys(fresh)).toEqual(Object.keys(wanted));
    for (const [name, { shape }] of Object.entries(fresh)) {
      expect(shape).toEqual(wanted[name]!.shape);
      expect(plannedShapes(read)[name]!.shape).toEqual(shape);
    }
    // moments of a part of the weights, too little of it to tell the sizes
    const moments = applyPlan(
      read,
      { 'enc.blocks.1.up.bias': makeWeights(1)['enc.blocks.1.up.bias']! },
      { partial: true },
    );
    expect((await valuesOf(moments))['enc.blocks.1.up.bias']).toEqual(wanted['enc.blocks.1.up.bias']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each([
  { first: [1], second: [2] },
  { first: [], second: [0] },
  { first: [3], second: [] },
  { first: [], second: [] },
])('composed plans equal two applications: blocks $first, then $second are dropped', async ({ first, second }) => {
  const weights = makeWeights(1);
  const one = await mlpPlan(weights, { dropBlocks: first });
  const between = applyPlan(one, weights);
  const left = depth - first.length;
  const widths = Array.from({ length: left }, (_, i) => between[`enc.blocks.${i}.up.bias`]!.size);
  const two = await plan({
    weights: between,
    axes: axesOf(left),
    importance: {
      embed: someScores(8, 3),
      ...Object.fromEntries(widths.map((width, i) => [`blocks.${i}.mlp`, someScores(width, 50 + i)])),
    },
    ratio: 0.4,
    ...how,
    dropBlocks: second,
  });
  const composed = composePlans(one, two);
  const wanted = await valuesOf(applyPlan(two, between));
  expect(await valuesOf(applyPlan(composed, weights))).toEqual(wanted);
  expect(await valuesOf(applyPlan(parsePlan(formatPlan(composed)), weights))).toEqual(wanted);
  // origins: every value of the pruned model is where the plan says it was
  const all = await valuesOf(weights);
  for (const [name, { name: from, positions }] of channelOrigins(composed)) {
    const { shape, values } = all[from]!;
    const [rows, columns] = [positions[0]!, positions[1] ?? [0]];
    const width = shape[1] ?? 1;
    expect(rows.flatMap((row) => columns.map((column) => values[row * width + column]))).toEqual(wanted[name]!.values);
  }
  expect([...channelOrigins(composed).keys()].sort()).toEqual(Object.keys(wanted).sort());
});

test('a plan of another model is refused with the first difference named, before any tensor is made', async () => {
  const weights = makeWeights(1);
  const made = await mlpPlan(weights);
  const before = tf.memory().numTensors;
  const wider = makeWeights(1, 13);
  const made13 = tf.memory().numTensors - before;
  expect(() => applyPlan(made, wider)).toThrow(
    "applyPlan: expected the model of the plan, with 'enc.blocks.0.up.weight' [12, 8], got [13, 8]; make a plan of this model",
  );
  const { 'enc.blocks.2.up.bias': _, ...less } = weights;
  expect(() => applyPlan(made, less)).toThrow("with 'enc.blocks.2.up.bias' [12], got none");
  expect(() => applyPlan(made, { ...weights, 'enc.blocks.4.up.bias': weights.other! })).toThrow(
    "with 'enc.blocks.4.up.bias' none, got [5]",
  );
  expect(() => applyPlan(made, { constructor: weights.other! }, { partial: true })).toThrow("with 'constructor' none");
  expect(tf.memory().numTensors).toBe(before + made13);
  const other = await embedPlan(weights);
  expect(() => composePlans(made, other)).toThrow(
    "composePlans: expected the model of the plan, with 'enc.blocks.0.up.weight' [12, 8]",
  );
});

const damaged = (change: (json: Record<string, unknown>) => void, made: Plan): string => {
  const json: Record<string, unknown> = JSON.parse(formatPlan(made));
  change(json);
  return JSON.stringify(json);
};

test('JSON is checked on reading', async () => {
  const made = await mlpPlan(makeWeights(1), { dropBlocks: [1] });
  const read = (change: (json: Record<string, unknown>) => void) => () =>
    parsePlan(damaged(change, made), 'x.plan.json');
  expect(() => parsePlan('{', 'x.plan.json')).toThrow("parsePlan: expected JSON in x.plan.json, got '{'");
  expect(read((json) => delete json.keep)).toThrow(/expected a plan in x.plan.json[\s\S]*keep/);
  expect(read((json) => Object.assign(json, { extra: 1 }))).toThrow(/extra/);
  expect(read((json) => Object.assign(json, { version: 2 }))).toThrow(/version/);
  expect(read((json) => Object.assign(json, { keep: { 'blocks.0.mlp': [12] } }))).toThrow(
    "'blocks.0.mlp' in [0, 12), got 12",
  );
  expect(read((json) => Object.assign(json, { keep: { 'blocks.0.mlp': [1, 1] } }))).toThrow('sorted, unique');
  expect(read((json) => Object.assign(json, { keep: { gone: [1] } }))).toThrow("got 'gone'");
  expect(read((json) => Object.assign(json, { blocks: { kept: [0], of: 9 } }))).toThrow('expected 4 blocks');
  expect(read((json) => Object.assign(json, { shapes: {} }))).toThrow('of the table of axes, got none');
});

test('a plan prints as a table', async () => {
  const made = await mlpPlan(makeWeights(1), { dropBlocks: [1] });
  const table = planTable(made);
  expect(table).toContain('| blocks.0.mlp');
  expect(table).not.toContain('blocks.1.mlp');
  expect(table).toMatch(/\| blocks +\| +4 \| +3 \|/);
  expect(table).toMatch(new RegExp(`\\| parameters +\\| +${made.before.parameters} \\| +${made.after.parameters} \\|`));
  expect(planTable(made, { by: 'class' })).toMatch(/\| blocks\.\*\.mlp +\| +12 \|/);
  for (const { kept } of Object.values(made.scores)) expect(kept).toBeGreaterThan(0);
});

test('wrong calls', async () => {
  const weights = makeWeights(1);
  const call = { weights, axes, importance: mlpScores(depth), ...how };
  await expect(plan(call)).rejects.toThrow('expected a ratio or a target, got neither');
  await expect(plan({ ...call, ratio: 0.5, dropBlocks: [4] })).rejects.toThrow('blocks to drop in [0, 4), got 4');
  await expect(plan({ ...call, ratio: 0.5, dropBlocks: [0, 1, 2, 3] })).rejects.toThrow('got all 4 dropped');
  await expect(plan({ ...call, ratio: { 'blocks.0.mlp': 0.5 } })).rejects.toThrow(
    "a ratio for 'blocks.1.mlp', got none",
  );
  await expect(plan({ ...call, ratio: 0.5, importance: { 'blocks.0.mlp': someScores(5, 1) } })).rejects.toThrow(
    "expected 12 scores of 'blocks.0.mlp', got 5",
  );
  await expect(plan({ ...call, ratio: 0.5, importance: { gone: someScores(5, 1) } })).rejects.toThrow("got 'gone'");
});
