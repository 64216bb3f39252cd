import type { Evaluation } from '../evaluate/evaluate-sam.ts';

/** The figures of SAMs as a table: a row for each. */
export function evaluationRows(found: Readonly<Record<string, Evaluation>>): {
  columns: string[];
  rows: (string | number)[][];
} {
  const labelled = Object.values(found).some(({ miou }) => miou !== undefined);
  return {
    columns: [
      ...['model', 'encoder parameters', 'all parameters', 'MACs, G', 'with attention, G'],
      ...(labelled ? ['mIoU, one point'] : []),
      'latency, ms',
    ],
    rows: Object.entries(found).map(([name, each]) => [
      ...[name, each.params, each.wholeParams, each.macs / 1e9, each.macsWithAttention / 1e9],
      ...(labelled ? [each.miou ?? ''] : []),
      each.latencyMs ?? '',
    ]),
  };
}
