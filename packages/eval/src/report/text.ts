import type { Report } from './report.ts';

/** Text for HTML and SVG, in elements and quoted attributes. */
export function escapeMarkup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The title, summary and tables of a report as Markdown. */
export function markdown({ title, summary, tables = [] }: Pick<Report, 'title' | 'summary' | 'tables'>): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  const parts = tables.map(({ title: name, columns, rows, note }) => {
    const cells = columnTexts(columns, rows);
    const lines = [
      columns.map(cell),
      cells.map(({ numbers }) => (numbers ? '--:' : '---')),
      ...rows.map((_, r) => cells.map(({ texts }) => cell(texts[r]!))),
    ];
    const table = lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
    return [...(name ? [`## ${name}`] : []), table, ...(note ? [note] : [])].join('\n\n');
  });
  return `${[`# ${title}`, ...(summary.trim() ? [summary.trim()] : []), ...parts].join('\n\n')}\n`;
}

/** A name for a file: 'mIoU, one point' becomes 'miou-one-point'. */
export function slug(text: string): string {
  const words = text
    .toLowerCase()
    .normalize('NFKD')
    .match(/[a-z0-9]+/g);
  return (words ?? ['untitled']).join('-').slice(0, 60);
}

/**
 * Numbers of one column: whole ones with all digits in groups of three, others with as many decimals as give the largest four digits.
 */
export function formatNumbers(values: readonly number[]): string[] {
  const largest = Math.max(...values.map(Math.abs));
  if (values.every(Number.isInteger)) return values.map((value) => value.toLocaleString('en-US'));
  if (largest < 0.01 || largest >= 1e6) return values.map((value) => value.toExponential(3));
  const decimals = Math.max(0, 3 - Math.max(-1, Math.floor(Math.log10(largest))));
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return values.map((value) => value.toLocaleString('en-US', digits));
}

/** A column's texts; one that has a number is a column of numbers, to the right. */
export interface ColumnTexts {
  readonly texts: readonly string[];
  readonly numbers: boolean;
}

/** The texts of a table, column by column. */
export function columnTexts(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): readonly ColumnTexts[] {
  return columns.map((_, i) => {
    const cells = rows.map((row) => row[i]!);
    const numbers = cells.filter((cell) => typeof cell === 'number');
    const formatted = formatNumbers(numbers);
    return {
      texts: cells.map((cell) => (typeof cell === 'number' ? formatted.shift()! : cell)),
      numbers: numbers.length > 0,
    };
  });
}
