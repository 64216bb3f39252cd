import { dataUri, type Tile } from './overlay.ts';
import { colours, type Report, type ReportTable } from './report.ts';
import { columnTexts, escapeMarkup } from './text.ts';

const style = `
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b212c; --muted: #5d6675; --grid: #e6e8ec; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e8eaee; --muted: #9aa3b2; --grid: #2b313b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 3rem 0 0.75rem; }
p { max-width: 44rem; margin: 0 0 0.9rem; }
.note, figcaption { color: var(--muted); font-size: 0.875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9375rem; width: 100%; }
th, td { padding: 0.45rem 0.9rem 0.45rem 0; text-align: left; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 600; border-bottom-color: var(--muted); vertical-align: bottom; white-space: normal; }
th.number, td.number { text-align: right; }
.note { margin-top: 0.6rem; }
figure { margin: 0; }
.plot svg { display: block; width: 100%; height: auto; max-width: 48rem; }
.overlay { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 0.8rem; }
.overlay img { display: block; width: 100%; height: auto; border-radius: 4px; }
.overlay figcaption { margin-top: 0.3rem; display: flex; gap: 0.45em; align-items: center; }
.overlay i { width: 0.65em; height: 0.65em; border-radius: 2px; flex: none; }
`;

/** The whole page; everything is in it. */
export function page(
  { title, summary, tables = [], plots = [], overlays = [] }: Report,
  pictures: { readonly plots: readonly string[]; readonly overlays: readonly (readonly Tile[])[] },
): string {
  const paragraphs = summary.split(/\n\s*\n/).filter((text) => text.trim());
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeMarkup(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeMarkup(title)}</h1>
${paragraphs.map((text) => `<p>${escapeMarkup(text.trim())}</p>`).join('\n')}
${tables.map(tableMarkup).join('\n')}
${plots.map((plot, i) => `<h2>${escapeMarkup(plot.title)}</h2>\n<figure class="plot">${pictures.plots[i]!}</figure>`).join('\n')}
${overlays.map((overlay, i) => `<h2>${escapeMarkup(overlay.title)}</h2>\n${overlayMarkup(pictures.overlays[i]!)}`).join('\n')}
</main>
</body>
</html>
`;
}

function tableMarkup({ title, columns, rows, note }: ReportTable): string {
  const cells = columnTexts(columns, rows);
  const cell = (tag: 'th' | 'td', text: string, i: number) =>
    `<${tag}${cells[i]!.numbers ? ' class="number"' : ''}>${escapeMarkup(text)}</${tag}>`;
  const lines = rows.map((_, r) => `<tr>${cells.map(({ texts }, i) => cell('td', texts[r]!, i)).join('')}</tr>`);
  return `${title ? `<h2>${escapeMarkup(title)}</h2>\n` : ''}<div class="scroll"><table>
<thead><tr>${columns.map((name, i) => cell('th', name, i)).join('')}</tr></thead>
<tbody>
${lines.join('\n')}
</tbody>
</table></div>${note ? `\n<p class="note">${escapeMarkup(note)}</p>` : ''}`;
}

function overlayMarkup(tiles: readonly Tile[]): string {
  const figures = tiles.map(({ label, width, height, jpeg }, i) => {
    const swatch = i > 0 ? `<i style="background:${colours[(i - 1) % colours.length]!}"></i>` : '';
    const text = escapeMarkup(label);
    return `<figure><img width="${width}" height="${height}" alt="${text}" src="${dataUri(jpeg)}"><figcaption>${swatch}${text}</figcaption></figure>`;
  });
  return `<div class="overlay">\n${figures.join('\n')}\n</div>`;
}
