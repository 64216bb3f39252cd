import type { TopLevelSpec } from 'vega-lite';
import { optionalPeer } from '../optional-peer.ts';
import { fontFamily, titleFamily } from './raster.ts';
import { colours, type ReportIntervals, type ReportPlot } from './report.ts';

/** Colours of a plot's parts; the page takes its own, which follow the reader's light or dark theme. */
const paper = { ink: '#1b212c', muted: '#5d6675', grid: '#e6e8ec', background: '#ffffff' };

/** The plot as SVG, its title in it, on white. */
export async function plotPicture(plot: ReportPlot | ReportIntervals): Promise<string> {
  return draw({ ...specOf(plot), title: plot.title, padding: 20, background: paper.background });
}

/** The plot as SVG for the page: no title, no background, colours of the page's theme. */
export async function plotForPage(plot: ReportPlot | ReportIntervals): Promise<string> {
  const svg = await draw({ ...specOf(plot), background: 'transparent' });
  return svg
    .replaceAll(paper.ink, 'var(--ink)')
    .replaceAll(paper.muted, 'var(--muted)')
    .replaceAll(paper.grid, 'var(--grid)');
}

async function draw(spec: TopLevelSpec): Promise<string> {
  const [{ parse, View }, { compile }] = await Promise.all([
    optionalPeer('writeReport', 'vega', () => import('vega')),
    optionalPeer('writeReport', 'vega-lite', () => import('vega-lite')),
  ]);
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** Lines, with dots where there are few; bars; or points. */
function markOf(marks: NonNullable<ReportPlot['marks']>, few: boolean) {
  if (marks === 'bars') return { type: 'bar' } as const;
  if (marks === 'points') return { type: 'point', filled: true, size: 90 } as const;
  const point = few && { point: { size: 36, filled: true } };
  return { type: 'line', strokeWidth: 2, interpolate: 'linear', ...point } as const;
}

const dashes = [
  [1, 0],
  [8, 4],
  [2, 3],
];

/** Of a plot, pixels. */
const width = 640;

/** So many names side by side that a legend is no wider than its plot: a letter takes 7 pixels, a symbol with its gaps 46. */
function legendColumns(names: readonly string[]): number {
  const longest = Math.max(...names.map((name) => name.length));
  return Math.max(1, Math.min(names.length, Math.floor(width / (7 * longest + 46))));
}

/** An axis of one value has no step that its label's digits follow: 0.77, not 0.770000. */
const shortLabel = (values: readonly (number | null)[]) => new Set(values).size === 1 && ({ format: '~r' } as const);

function specOf(plot: ReportPlot | ReportIntervals): TopLevelSpec {
  return 'rows' in plot ? intervalsOf(plot) : curvesOf(plot);
}

function curvesOf(plot: ReportPlot): TopLevelSpec {
  const values = plot.curves.flatMap(({ name, points }) => averaged(points).map(([x, y]) => ({ name, x, y })));
  const names = plot.curves.map(({ name }) => name);
  const few = Math.max(0, ...plot.curves.map(({ points }) => points.length)) <= 40;
  return {
    width,
    height: 280,
    data: { values },
    mark: markOf(plot.marks ?? 'lines', few),
    encoding: {
      x: {
        field: 'x',
        type: plot.marks === 'bars' ? 'ordinal' : 'quantitative',
        title: plot.x,
        ...(plot.marks !== 'bars' && {
          scale: { zero: false, nice: plot.marks === 'points', padding: plot.marks === 'points' ? 30 : 0 },
        }),
        axis: { grid: false, labelAngle: 0, ...shortLabel(values.map(({ x }) => x)) },
      },
      ...(plot.marks === 'bars' && names.length > 1 && { xOffset: { field: 'name', sort: names } }),
      y: {
        field: 'y',
        type: 'quantitative',
        title: plot.y,
        scale: plot.logarithmic ? { type: 'log' } : { zero: plot.marks === 'bars' },
        axis: { ...shortLabel(values.map(({ y }) => y)) },
      },
      // a colour that comes again is dashed
      ...(!plot.marks && {
        strokeDash: {
          field: 'name',
          scale: { domain: names, range: names.map((_, i) => dashes[Math.floor(i / colours.length) % dashes.length]!) },
        },
      }),
      color: {
        field: 'name',
        type: 'nominal',
        scale: { domain: names, range: names.map((_, i) => colours[i % colours.length]!) },
        legend:
          names.length > 1
            ? {
                ...{ title: null, orient: 'top', columns: legendColumns(names) },
                ...{ symbolType: plot.marks ? 'circle' : 'stroke', symbolStrokeWidth: 3 },
              }
            : null,
      },
    },
    config,
  };
}

function intervalsOf({ x, line, rows }: ReportIntervals): TopLevelSpec {
  const own = rows.filter(({ mean, low, high }) => [mean, low, high].every(Number.isFinite));
  const y = { field: 'name', type: 'nominal', sort: rows.map(({ name }) => name), title: null } as const;
  const color = { value: colours[0]! };
  const dashed = { type: 'rule' as const, strokeDash: [4, 4], color: paper.muted };
  const across = line === undefined ? [] : [{ mark: dashed, encoding: { x: { datum: line } } }];
  return {
    width,
    height: { step: 26 },
    data: { values: own },
    layer: [
      ...across,
      {
        mark: { type: 'rule', strokeWidth: 3, opacity: 0.45 },
        encoding: { y, color, x: { field: 'low', type: 'quantitative' }, x2: { field: 'high' } },
      },
      {
        mark: { type: 'point', filled: true, size: 90, opacity: 1 },
        encoding: {
          y,
          color,
          x: { field: 'mean', type: 'quantitative', title: x, scale: { zero: false, padding: 12 } },
        },
      },
    ],
    config: { ...config, axisY: { ...config.axisY, labelLimit: 400, labelColor: paper.ink } },
  };
}

/** What all plots look like. */
const config = {
  font: fontFamily,
  view: { stroke: null },
  title: { anchor: 'start', font: titleFamily, color: paper.ink, fontSize: 16, fontWeight: 400, offset: 14 },
  axis: {
    labelColor: paper.muted,
    labelFontSize: 12,
    titleColor: paper.ink,
    titleFontSize: 12.5,
    titleFontWeight: 400,
    titlePadding: 10,
    gridColor: paper.grid,
    domainColor: paper.muted,
    tickColor: paper.muted,
    tickCount: 6,
    labelPadding: 6,
  },
  axisY: { domain: false, ticks: false },
  legend: {
    labelColor: paper.ink,
    labelFontSize: 12.5,
    labelLimit: 600,
    symbolSize: 220,
    offset: 12,
    columnPadding: 18,
  },
} as const;

const most = 400;

/** At most 400 points: means of equal stretches. */
function averaged(points: ReportPlot['curves'][number]['points']): (readonly [number, number | null])[] {
  const stretch = Math.ceil(points.length / most);
  const means: (readonly [number, number | null])[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const mean = (k: 0 | 1) => part.reduce((sum, point) => sum + point[k], 0) / part.length;
    means.push([mean(0), Number.isFinite(mean(1)) ? mean(1) : null]);
  }
  return means;
}
