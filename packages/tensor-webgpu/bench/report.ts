import { rename, writeFile } from 'node:fs/promises';
import type { Case } from './cases/case.ts';
import { geometricMean, type Row } from './measure.ts';

type AnyRow = Omit<Row, 'maxError'> & { readonly maxError: number | null };

const columns = (row: AnyRow): string =>
  [
    row.case.padEnd(28),
    row.pass.padEnd(9),
    `${row.ours.ms} ms`.padStart(11),
    `${row.ours.gflops} GFLOP/s`.padStart(15),
    row.compileMs === null ? '' : `compiled in ${row.compileMs} ms`.padEnd(21),
    row.maxError === null ? '' : `error ${row.maxError.toExponential(1)}`,
  ].join(' ');

/** A row for the terminal: ours, then each peer's time and how many times as long it is. */
export function rowText(row: AnyRow): string {
  const peers = Object.entries(row.peers).map(
    ([name, { ms, gflops }]) =>
      `    ${name.padEnd(24)} ${`${ms} ms`.padStart(11)} ${`${gflops} GFLOP/s`.padStart(15)}  x ${(ms / row.ours.ms).toFixed(2)}`,
  );
  return [columns(row), ...peers].join('\n');
}

/** Collects why peers are left out, as lines below a row. */
export function reasons(): { lines: string[]; leftOut: (name: string, reason: string) => void } {
  const lines: string[] = [];
  return { lines, leftOut: (name, reason) => lines.push(`    ${name} left out: ${reason.slice(0, 160)}`) };
}

interface Aim {
  readonly text: string;
  readonly families: readonly Case['family'][];
  readonly pass: Row['pass'];
  readonly peer: string;
  readonly factor: number;
}

const products: readonly Case['family'][] = ['matmul', 'attention'];
const forward = (peer: string, factor: number): Aim => ({
  text: 'matmul and attention, forward',
  families: products,
  pass: 'forward',
  peer,
  factor,
});
const aims: readonly Aim[] = [
  forward('tfjs-backend-webgpu', 8),
  forward('onnxruntime WebGPU', 8),
  forward('jax-js', 8),
  forward('tfjs-backend-wasm', 1.5),
  forward('onnxruntime CPU', 0.4),
  ...[products, ['softmax'] as const, ['layer norm'] as const].flatMap((families): Aim[] => [
    {
      text: `${families.join(' and ')}, with gradients`,
      families,
      pass: 'backward',
      peer: 'tfjs-backend-webgpu',
      factor: families === products ? 6 : 4,
    },
    ...(families === products
      ? []
      : [{ text: `${families}, forward`, families, pass: 'forward' as const, peer: 'tfjs-backend-webgpu', factor: 4 }]),
  ]),
];

/** Geometric means of peer's time / our time beside the aims, over the cases that the peer can do. */
export function meansText(rows: readonly Row[], families: ReadonlyMap<string, Case['family']>): string {
  const lines = aims.flatMap(({ text, families: wanted, pass, peer, factor }) => {
    const ratios = rows
      .filter((row) => row.pass === pass && wanted.includes(families.get(row.case)!) && row.peers[peer])
      .map((row) => row.peers[peer]!.ms / row.ours.ms);
    if (ratios.length === 0) return [];
    return [
      `${text} against ${peer}: x ${geometricMean(ratios).toFixed(2)} over ${ratios.length} cases (aim ${factor})`,
    ];
  });
  return lines.join('\n');
}

/** Writes JSON whole or not at all. */
export async function writeJson(path: string, content: object): Promise<void> {
  await writeFile(`${path}.tmp`, `${JSON.stringify(content, null, 1)}\n`);
  await rename(`${path}.tmp`, path);
}
