import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import type { Program } from '../../program/program.ts';
import { type Candidate, isTuned, tunedProgram, upTo } from '../../tuning/tunings.ts';
import type { MatmulSpec } from './matmul.wgsl.ts';
import { type PanelShape, panelMatmul } from './matmul-panel.wgsl.ts';
import { subgroupMatmul, subgroupName } from './matmul-subgroup.wgsl.ts';
import { tileMatmul } from './matmul-tile.wgsl.ts';
import { bestTile, rankedTiles, subgroupTilesFor } from './tile-choice.ts';

/** Those that are worth a try, first the one to take as long as nothing is measured. */
export const candidates = (backend: WebgpuBackend, spec: MatmulSpec): readonly Candidate[] =>
  ranked(backend, spec).slice(0, 4);

/** All that can make the matmul, the fastest first as far as can be told unmeasured: their order depends on M, their set does not. */
function ranked(backend: WebgpuBackend, spec: MatmulSpec): readonly Candidate[] {
  if (!takesPanels(backend.facts)) {
    const bySubgroups = subgroupTilesFor(spec, backend.facts).map((tile) => ({
      name: subgroupName(tile),
      program: () => subgroupMatmul(spec, tile),
    }));
    const tiles = rankedTiles(spec, backend.facts).map((shape) => ({
      name: `tile ${shape.rows} x ${shape.columns} by ${shape.depth}, ${shape.threadRows} x ${4 * shape.threadVectors}${shape.halfSums ? ' in halves' : ''}`,
      program: () => tileMatmul(spec, shape),
    }));
    return [...bySubgroups.slice(0, 2), ...tiles, ...bySubgroups.slice(2)];
  }
  return rankedPanels(spec).map((shape) => ({
    name: `panel ${shape.kBlock} x ${shape.vectors * 32}`,
    program: () => panelMatmul(spec, shape),
  }));
}

const panels: readonly PanelShape[] = [
  ...[32, 64, 96, 128].flatMap((kBlock) => [1, 2].map((vectors) => ({ vectors, kBlock }))),
  ...[32, 64].map((kBlock) => ({ vectors: 4, kBlock })),
];

/**
 * The time for a row of A, in multiply-adds of a vector, as fitted to lavapipe: a step of K brings one value of A (0.7), a block of
 * K passes its sums through C (20 a vector), and four vectors spill (5 %). Of 16 shapes of ViT-B and its pruned relatives it chose the
 * fastest within 2 % for all but one (6 %); blocks of the next power of two and 64 columns, as before, took 6 to 12 % longer on K = 64,
 * 25 % on 4096 x 168 x 168, 55 % on N = 32.
 */
function panelCost({ N, K }: MatmulSpec, { vectors, kBlock }: PanelShape): number {
  const one = (vectors + 0.7) * kBlock + 20 * vectors;
  return Math.ceil(K / kBlock) * Math.ceil(N / (32 * vectors)) * one * (vectors === 4 ? 1.05 : 1);
}

/** Blocks end where parts do. Those of 64 x 128 of a transposed B compile for 1.8 s, and gain 6 % where K is 64. */
const isPossible = ({ parts, transposeB }: MatmulSpec, { kBlock, vectors }: PanelShape): boolean =>
  (parts === 1 || kBlock !== 96) && !(transposeB && kBlock === 64 && vectors === 4);

function rankedPanels(spec: MatmulSpec): readonly PanelShape[] {
  const possible = panels.filter((shape) => isPossible(spec, shape));
  const costs = new Map(possible.map((shape) => [shape, panelCost(spec, shape)]));
  return [...possible].sort((a, b) => costs.get(a)! - costs.get(b)!);
}

/** The first of the candidates, without a list of them: this is asked for at every matmul. */
function expected(backend: WebgpuBackend, spec: MatmulSpec): Program {
  if (!takesPanels(backend.facts)) {
    const bySubgroups = subgroupTilesFor(spec, backend.facts)[0];
    return bySubgroups ? subgroupMatmul(spec, bySubgroups) : tileMatmul(spec, bestTile(spec, backend.facts));
  }
  let best = panels[0]!;
  let least = Number.POSITIVE_INFINITY;
  for (const shape of panels) {
    const cost = isPossible(spec, shape) ? panelCost(spec, shape) : Number.POSITIVE_INFINITY;
    if (cost < least) [best, least] = [shape, cost];
  }
  return panelMatmul(spec, best);
}

/** What decides which program is the fastest: M and the batch only to the next power of two, as a user's batches vary. */
function matmulClass({ M, N, K, batch, transposeA, transposeB, bias, ...spec }: MatmulSpec): string {
  const matrix = (rows: number | string, columns: number, one: boolean, how: { half: boolean; transposed: boolean }) =>
    `[${one || batch === 1 ? '' : `${upTo(batch)}, `}${rows}, ${columns}]${how.transposed ? '^T' : ''}${how.half ? ' half' : ''}`;
  const a = matrix(upTo(M), K, spec.broadcastA, { half: spec.halfA, transposed: transposeA });
  const b = matrix(K, N, spec.broadcastB, { half: spec.halfB, transposed: transposeB });
  return `${a} x ${b}${spec.spread ? ', spread' : ''}${bias ? ' + bias' : ''}${spec.residual ? ' + residual' : ''}${spec.activation ? ', activated' : ''}${spec.halfC ? ' to half' : ''}${spec.parts > 1 ? ` in ${spec.parts} parts` : ''}`;
}

/** The program that was measured to be the fastest for the spec's class, else the one that is expected to be. */
export function programFor(backend: WebgpuBackend, spec: MatmulSpec): Program {
  if (!isTuned(backend)) return expected(backend, spec);
  const { M, N, K, batch, parts, bias, residual } = spec;
  const operands = [(spec.broadcastA ? 1 : batch) * M * K, (spec.broadcastB ? 1 : batch) * K * N];
  if (bias) operands.push(N);
  if (residual) operands.push(batch * M * N);
  const results = [[parts, batch, M, N]];
  const work = { candidates: () => candidates(backend, spec), all: () => ranked(backend, spec), operands, results };
  return tunedProgram(backend, matmulClass(spec), work) ?? expected(backend, spec);
}
