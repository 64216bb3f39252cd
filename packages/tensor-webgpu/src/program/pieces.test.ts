import { expect, test } from 'vitest';
import { asGpu, backendWithOps } from '../../test/ops-testing.ts';
import { tileMatmul } from '../kernels/matmul/matmul-tile.wgsl.ts';
import { bestTile } from '../kernels/matmul/tile-choice.ts';
import { attentionShape } from '../ops/attention/attention-choice.ts';
import { rowsKeyGradient } from '../ops/attention/attention-gpu.wgsl.ts';
import { inPieces, mostFlops } from './pieces.ts';
import type { Program } from './program.ts';

const backend = backendWithOps();
const nvidia = { vendor: 'nvidia', isCpu: false, leastSubgroup: 32, features: ['subgroups'] };

const dispatchesOf = ({ more = [] }: Pick<Program, 'more'>): number => 1 + more.length;

test('pieces cover the work once', () => {
  for (const [count, flops] of [
    [1, 9e12],
    [7, 3.3e11],
    [1000, 9.9e10],
    [1000, 1.01e11],
    [65_537, 7e12],
  ] as const) {
    const made = inPieces({ count, flops }, (first, size) => ({ workgroups: [size, 1, 1], uniforms: { first } }));
    const pieces = [made, ...(made.more ?? [])];
    let next = 0;
    for (const { workgroups, uniforms } of pieces) {
      expect((uniforms as { first: number }).first).toBe(next);
      expect(workgroups[0] === 1 || (workgroups[0] / count) * flops <= mostFlops).toBe(true);
      next += workgroups[0];
    }
    expect(next).toBe(count);
  }
});

test("the largest dispatches of SAM-H's training stay within the budget", () => {
  const attention = {
    ...{ G: 16 * 4, Nq: 4096, Nk: 4096, D: 80, kh: 64, kw: 64, scale: 1, bias: true, half: false },
  };
  const shape = attentionShape('key', nvidia, attention);
  const key = rowsKeyGradient(attention, { shape, joined: false }); // of a batch of four
  expect(key.flops! / dispatchesOf(key)).toBeLessThanOrEqual(mostFlops);
  expect(dispatchesOf(key)).toBeGreaterThan(4);
  const layer = { M: 4 * 4096, N: 5120, K: 1280, batch: 1, parts: 1 };
  const how = { transposeA: false, transposeB: true, broadcastA: true, broadcastB: true, bias: false, residual: false };
  const halves = { activation: undefined, halfA: false, halfB: false, halfC: false };
  const matmul = tileMatmul({ ...layer, ...how, ...halves }, bestTile(layer, nvidia));
  expect(matmul.flops! / dispatchesOf(matmul)).toBeLessThanOrEqual(mostFlops);
  expect(dispatchesOf(matmul)).toBeGreaterThan(2);
});

test('a program in pieces makes what it makes in one', () =>
  asGpu(backend(), async () => {
    const sizes = { M: 70, N: 70, K: 5, batch: 2, parts: 1 };
    const how = { transposeA: false, transposeB: false, broadcastA: false, broadcastB: false, bias: false };
    const halves = { residual: false, activation: undefined, halfA: false, halfB: false, halfC: false };
    const whole = tileMatmul(
      { ...sizes, ...how, ...halves },
      { rows: 32, columns: 32, threadRows: 2, threadVectors: 1, depth: 32, halfSums: false, turns: true },
    );
    const { groups } = whole.uniforms as { groups: number };
    const half = Math.floor(groups / 2);
    const piece = (first: number, end: number) => ({
      workgroups: [end - first, 1, 1] as const,
      uniforms: { ...whole.uniforms, first, groups: end },
    });
    const cut: Program = { ...whole, ...piece(0, half), more: [piece(half, groups)] };
    const a = backend().makeTensor(
      Float32Array.from({ length: 700 }, (_, i) => Math.sin(i)),
      [2, 70, 5],
      'float32',
    );
    const b = backend().makeTensor(
      Float32Array.from({ length: 700 }, (_, i) => Math.cos(i)),
      [2, 5, 70],
      'float32',
    );
    const output = [{ shape: [2, 70, 70], dtype: 'float32' as const }];
    const stop = backend().record();
    const made = [whole, cut].map((program) => backend().run(program, [a, b], output)[0]!);
    const [expected, actual] = await Promise.all(made.map(({ dataId }) => backend().read(dataId)));
    expect(actual).toEqual(expected);
    expect(await stop()).toHaveLength(3);
    for (const { dataId } of [a, b, ...made]) backend().disposeData(dataId);
  }));
