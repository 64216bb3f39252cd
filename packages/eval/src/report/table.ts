import { fontFamily, titleFamily } from './raster.ts';
import type { ReportTable } from './report.ts';
import { columnTexts, escapeMarkup } from './text.ts';

const [margin, gap, line, letter] = [24, 36, 34, 8.8]; // pixels; a letter of 16 pixels is at most about that wide on average

/** The table as SVG, on white. */
export function tablePicture({ title, columns, rows, note }: ReportTable): string {
  const cells = columnTexts(columns, rows);
  const widths = columns.map((name, i) => letter * Math.max(...[name, ...cells[i]!.texts].map((text) => text.length)));
  const starts = widths.map((_, i) => margin + widths.slice(0, i).reduce((sum, width) => sum + width + gap, 0));
  const width = starts.at(-1)! + widths.at(-1)! + margin;
  const top = title ? 64 : 24;
  const height = top + line * (rows.length + 1) + (note ? line : 0) + 16;
  const text = (content: string, i: number, row: number, extra = '') => {
    const x = cells[i]!.numbers ? starts[i]! + widths[i]! : starts[i]!;
    const anchor = cells[i]!.numbers ? ' text-anchor="end"' : '';
    return `<text x="${x}" y="${top + line * row + 22}"${anchor}${extra}>${escapeMarkup(content)}</text>`;
  };
  const rule = (row: number, colour: string) =>
    `<path d="M${margin} ${top + line * row}H${width - margin}" stroke="${colour}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${fontFamily}" font-size="16" fill="#1b212c">
<rect width="100%" height="100%" fill="#ffffff"/>
${title ? `<text x="${margin}" y="40" font-size="20" font-family="${titleFamily}">${escapeMarkup(title)}</text>` : ''}
${columns.map((name, i) => text(name, i, 0, ` font-family="${titleFamily}"`)).join('\n')}
${rule(1, '#5d6675')}
${rows.map((_, r) => cells.map(({ texts }, i) => text(texts[r]!, i, r + 1)).join('') + rule(r + 2, '#e6e8ec')).join('\n')}
${note ? `<text x="${margin}" y="${height - 22}" font-size="14" fill="#5d6675">${escapeMarkup(note)}</text>` : ''}
</svg>`;
}
