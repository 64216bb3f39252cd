import { checkFields, printable } from '@slimsam/weights';

/** What is wrong with one record of a file. */
export interface BadRecord {
  /** The file, or what was given instead of one. */
  readonly source: string;
  /** The record: 'annotations[3], id 17', 'an image'. */
  readonly record: string;
  readonly field: string;
  /** 'expected …, got …'. */
  readonly problem: string;
}

/** Receives records that are left out. Without it the first one is an error. */
export type OnBad = (bad: BadRecord) => void;

/** One line: `source: record: field: expected …, got …`; letters of a file that could steer a terminal are written out. */
export function badRecordText(bad: BadRecord): string {
  checkFields('badRecordText', bad, { source: 'string', problem: 'string' });
  const { source, record, field, problem } = bad;
  return [source, record, field, problem]
    .filter(Boolean)
    .join(': ')
    .split('\n')
    .map((line) => printable(line))
    .join('\n');
}

/** Hands a bad record on, or throws it. */
export function refuse(bad: BadRecord, onBad: OnBad | undefined): void {
  if (!onBad) throw new Error(`${badRecordText(bad)}; --skip-bad (onBad) leaves such records out and lists them`);
  onBad(bad);
}
