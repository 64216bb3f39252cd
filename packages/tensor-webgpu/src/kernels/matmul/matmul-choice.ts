import type { WebgpuBackend } from '../../backend.ts';
import { takesPanels } from '../../device/open-device.ts';
import type { Program } from '../../program/program.ts';
import type { MatmulSpec } from './matmul.wgsl.ts';
import { type PanelShape, panelMatmul } from './matmul-panel.wgsl.ts';
import { tileMatmul } from './matmul-tile.wgsl.ts';
import { bestTile, rankedTiles } from './tile-choice.ts';

/** A program that can make a matmul. */
export interface Candidate {
  /** Unique among a spec's. */
  readonly name: string;
  readonly program: () => Program;
}

/** Those that are worth a try, first the one to take as long as nothing is measured. */
export function candidates(backend: WebgpuBackend, spec: MatmulSpec): readonly Candidate[] {
  return ranked(backend, spec).slice(0, 4);
}

/** All that can make the matmul, the fastest first as far as can be told unmeasured: their order depends on M, their set does not. */
function ranked(backend: WebgpuBackend, spec: MatmulSpec): readonly Candidate[] {
  if (!takesPanels(backend.facts))
    return rankedTiles(spec, backend.facts).map((shape) => ({
      name: `tile ${shape.rows} x ${shape.columns} by ${shape.depth}, ${shape.threadRows} x ${4 * shape.threadVectors}`,
      program: () => tileMatmul(spec, shape),
    }));
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

/** Blocks end where parts do. */
const isPossible = ({ parts }: MatmulSpec, { kBlock }: PanelShape): boolean => parts === 1 || kBlock !== 96;

function rankedPanels(spec: MatmulSpec): readonly PanelShape[] {
  const possible = panels.filter((shape) => isPossible(spec, shape));
  const costs = new Map(possible.map((shape) => [shape, panelCost(spec, shape)]));
  return [...possible].sort((a, b) => costs.get(a)! - costs.get(b)!);
}

/** The first of the candidates, without a list of them: this is asked for at every matmul. */
function expected(backend: WebgpuBackend, spec: MatmulSpec): Program {
  if (!takesPanels(backend.facts)) return tileMatmul(spec, bestTile(spec, backend.facts));
  let best = panels[0]!;
  let least = Number.POSITIVE_INFINITY;
  for (const shape of panels) {
    const cost = isPossible(spec, shape) ? panelCost(spec, shape) : Number.POSITIVE_INFINITY;
    if (cost < least) [best, least] = [shape, cost];
  }
  return panelMatmul(spec, best);
}

/** What `tune` knows of a backend. */
interface Tuning {
  /** Names of candidates by classes of matmuls. */
  readonly winners: Map<string, string>;
  /** Each takes one spec of every class that is met. */
  readonly met: Set<Map<string, MatmulSpec>>;
}

const tunings = new WeakMap<WebgpuBackend, Tuning>();

export function tuningOf(backend: WebgpuBackend): Tuning {
  const known = tunings.get(backend) ?? { winners: new Map(), met: new Set() };
  tunings.set(backend, known);
  return known;
}

/** What decides which program is the fastest: M and the batch only to the next power of two, as a user's batches vary. */
function matmulClass({ M, N, K, batch, transposeA, transposeB, bias, ...spec }: MatmulSpec): string {
  const upTo = (size: number) => (size > 2 ? `..${2 ** Math.ceil(Math.log2(size))}` : String(size));
  const matrix = (rows: number | string, columns: number, one: boolean, how: { half: boolean; transposed: boolean }) =>
    `[${one || batch === 1 ? '' : `${upTo(batch)}, `}${rows}, ${columns}]${how.transposed ? '^T' : ''}${how.half ? ' half' : ''}`;
  const a = matrix(upTo(M), K, spec.broadcastA, { half: spec.halfA, transposed: transposeA });
  const b = matrix(K, N, spec.broadcastB, { half: spec.halfB, transposed: transposeB });
  return `${a} x ${b}${spec.spread ? ', spread' : ''}${bias ? ' + bias' : ''}${spec.residual ? ' + residual' : ''}${spec.activation ? ', activated' : ''}${spec.halfC ? ' to half' : ''}${spec.parts > 1 ? ` in ${spec.parts} parts` : ''}`;
}

/** The program that was measured to be the fastest for the spec's class, else the one that is expected to be. */
export function programFor(backend: WebgpuBackend, spec: MatmulSpec): Program {
  const tuning = tunings.get(backend);
  if (!tuning) return expected(backend, spec);
  const matmul = matmulClass(spec);
  for (const met of tuning.met) if (!met.has(matmul)) met.set(matmul, spec);
  const winner = tuning.winners.get(matmul);
  const tuned = winner === undefined ? undefined : ranked(backend, spec).find(({ name }) => name === winner);
  return tuned?.program() ?? expected(backend, spec);
}
