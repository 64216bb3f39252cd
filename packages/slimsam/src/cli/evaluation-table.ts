import { checkFields } from '@slimsam/weights';
import type { Evaluation } from '../evaluate/evaluate-sam.ts';
import { evaluationRows } from '../report/evaluation-rows.ts';
import { table } from './output.ts';

/** The figures of SAMs as text: a row for each. */
export function evaluationTable(found: Readonly<Record<string, Evaluation>>): string {
  checkFields('evaluationTable', { found }, { found: 'object' });
  const { columns, rows } = evaluationRows(found);
  return table(columns, rows);
}
