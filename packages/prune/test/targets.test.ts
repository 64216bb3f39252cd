import { encoderAxes, encoderCosts, parseSamConfig, parseVitConfig, samPresets, vitAxes, vitCosts } from '@slimsam/vit';
import { type Axes, type Costs, dims } from '@slimsam/weights';
import { describe, expect, test } from 'vitest';
import {
  bytesTarget,
  countMacs,
  countParameters,
  latencyTarget,
  macsTarget,
  type PlanOptions,
  parametersTarget,
  plan,
  plannedShapes,
  type Target,
} from '../src/index.ts';
import { dinoShapes, encoderShapes, type Shapes, someScores } from './model-shapes.ts';

interface Model {
  shapes: Shapes;
  axes: Axes;
  costs: Costs;
}

const samB: Model = (() => {
  const { config } = samPresets['sam-vit-base'];
  const how = { heads: 12, headWidth: 64, grid: 64, window: 14, globalBlocks: [2, 5, 8, 11], prompt: 256 };
  const shapes = encoderShapes({ width: 768, depth: 12, mlp: 3072 }, how);
  return { shapes, axes: encoderAxes(shapes, config), costs: encoderCosts(shapes, config) };
})();
const small: Model = (() => {
  const attention = { heads: 4, headWidth: 32, globalBlocks: [2, 5] };
  const config = parseSamConfig({ imageSize: 256, patchSize: 16, windowSize: 8, decoderHeads: 4, ...attention });
  const how = { ...attention, grid: 16, window: 8, prompt: 64 };
  const shapes = encoderShapes({ width: 128, depth: 6, mlp: 512 }, how);
  return { shapes, axes: encoderAxes(shapes, config), costs: encoderCosts(shapes, config) };
})();
const dino: Model = (() => {
  const config = parseVitConfig({ imageSize: [518, 518], heads: 6, headWidth: 64 });
  const shapes = dinoShapes();
  return { shapes, axes: vitAxes(shapes, config), costs: vitCosts(shapes, config) };
})();

const scoresOf = ({ axes, shapes }: Model, pattern: RegExp) =>
  Object.fromEntries(
    [...dims(axes, shapes)]
      .filter(([name]) => pattern.test(name))
      .map(([name, { size }], i) => [name, someScores(size, i)] as const),
  );
const widths = /^embed$|\.(head|mlp)$/;
const planOf = (model: Model, more: Partial<PlanOptions>) =>
  plan({
    ...{ weights: model.shapes, axes: model.axes, costs: model.costs, importance: scoresOf(model, widths) },
    ...{ ranking: 'global', normalise: 'standard' },
    ...more,
  });

test('the paper’s widths: uniform SlimSAM-50 and -77 by ratio, parameters and MACs by each convention', async () => {
  const uniform = { ranking: 'local', normalise: 'mean', roundTo: { embed: 12, 'blocks.*.mlp': 12 } } as const;
  const half = await planOf(samB, { ...uniform, ratio: 0.5 });
  expect(half.before.parameters).toBe(89_670_912);
  expect(half.after.parameters).toBe(23_897_216);
  expect(half.after.paperMacs! / 1e9).toBeCloseTo(94.87, 3);
  const most = await planOf(samB, { ...uniform, ratio: 0.77 });
  expect(most.keep.embed).toHaveLength(168);
  expect(most.keep['blocks.3.head']).toHaveLength(14);
  expect(most.keep['blocks.3.mlp']).toHaveLength(696);
  expect(most.after.parameters).toBe(5_658_968);
  expect(most.after.paperMacs! / 1e9).toBeCloseTo(20.925, 3);
  expect(most.before.paperMacs! / 1e9).toBeCloseTo(368.859, 3);
});

/** Fails when a further step of any width would still be within the target. */
async function expectTight(model: Model, target: Target, more: Partial<PlanOptions>) {
  const made = await planOf(model, { ...more, target });
  const shapes = plannedShapes(made);
  const cost = await target.cost(shapes, model.costs);
  expect(made.target!.got).toBe(cost);
  expect(cost).toBeLessThanOrEqual(target.atMost);
  const sizes = dims(model.axes, model.shapes);
  const roundTo = typeof more.roundTo === 'number' ? more.roundTo : 1;
  for (const [name, kept] of Object.entries(made.keep)) {
    const { size } = sizes.get(name)!;
    if (kept.length === size) continue;
    const width = Math.min(size, kept.length + roundTo);
    const wider = { ...made, keep: { ...made.keep, [name]: Array.from({ length: width }, (_, i) => i) } };
    expect(await target.cost(plannedShapes(wider), model.costs), name).toBeGreaterThan(target.atMost);
  }
}

describe.each([
  ['SAM-B', samB],
  ['the small teacher', small],
  ['DINOv2-S', dino],
] as const)('%s', (_, model) => {
  const before = countMacs(model.shapes, model.costs);
  const parameters = countParameters(model.shapes);
  test.each([0.15, 0.3, 0.5, 0.7, 0.9])('every target is met within one rounding step at %f', async (share) => {
    await expectTight(model, parametersTarget(Math.round(share * parameters)), {});
    await expectTight(model, bytesTarget(2 * share * parameters, { bytesPerParameter: 2 }), {
      ranking: 'local',
      normalise: 'mean',
      roundTo: 4,
    });
    await expectTight(model, macsTarget(share * before.macs), { roundTo: 8 });
    for (const convention of ['macsWithAttention', 'paperMacs'] as const)
      await expectTight(model, macsTarget(share * before[convention], { convention }), {});
  });
});

test('a measured latency', async () => {
  let asked = 0;
  // a device that is fast at multiples of 8
  const measure = (shapes: Shapes | PlanOptions['weights']) => {
    asked++;
    return 2 + Object.values(shapes).reduce((sum, { shape }) => sum + Math.ceil(shape[0]! / 8), 0) / 100;
  };
  const whole = measure(samB.shapes);
  for (const share of [0.3, 0.5, 0.7]) {
    const made = await planOf(samB, { target: latencyTarget(share * whole, measure) });
    expect(made.target).toMatchObject({ name: 'milliseconds', got: measure(plannedShapes(made)) });
    expect(made.target!.got).toBeLessThanOrEqual(share * whole);
    expect(made.target!.got).toBeGreaterThan(0.97 * share * whole);
  }
  expect(asked).toBeLessThan(50);
});

test('one width for a class, stages, minima, multiples, ratios by class', async () => {
  const tied = await planOf(samB, { ratio: 0.5, sameWidth: true, roundTo: { embed: 64, 'blocks.*.mlp': 32 } });
  const widthsOf = (made: Awaited<ReturnType<typeof plan>>, kind: string) =>
    Object.entries(made.keep)
      .filter(([name]) => name.endsWith(kind))
      .map(([, kept]) => kept.length);
  expect(widthsOf(tied, '.mlp')).toEqual(Array(12).fill(1536));
  expect(tied.keep.embed).toHaveLength(384);
  const stage = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`blocks.${i}.mlp`, i < 6 ? 'early' : 'late']));
  const staged = await planOf(samB, { ratio: 0.5, sameWidth: stage });
  const mlp = widthsOf(staged, '.mlp');
  expect(new Set(mlp.slice(0, 6)).size).toBe(1);
  expect(new Set(mlp.slice(6)).size).toBe(1);
  expect(mlp.reduce((a, b) => a + b)).toBeGreaterThan(12 * 1536 - 6);
  expect(new Set(widthsOf(staged, '.head')).size).toBeGreaterThan(1);
  const bounded = await planOf(samB, {
    ratio: { embed: 0, 'blocks.*.head': 0.9, 'blocks.*.mlp': 0.5 },
    minimum: { 'blocks.*.head': 9 },
    roundTo: { 'blocks.*.head': 4 },
  });
  expect(bounded.keep.embed).toHaveLength(768);
  expect(widthsOf(bounded, '.head')).toEqual(Array(12).fill(12));
  expect(bounded.given).toBeLessThan(bounded.asked!);
});

test('a target that no ratio reaches says the least; one that is met already keeps everything', async () => {
  await expect(planOf(samB, { target: parametersTarget(1000) })).rejects.toThrow(
    /expected a target that some ratio reaches, got 1000 parameters; the least is \d+: lower the minimum widths/,
  );
  const all = await planOf(samB, { target: parametersTarget(1e9) });
  expect(all.given).toBe(0);
  await expect(planOf(samB, { target: parametersTarget(Number.NaN) })).rejects.toThrow('a target of more than 0');
});
