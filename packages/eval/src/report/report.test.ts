import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScene } from '@slimsam/scenes';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { plotPicture } from './plot.ts';
import { rasterise } from './raster.ts';
import type { ReportOverlay, ReportPlot } from './report.ts';
import { formatNumbers, slug } from './text.ts';
import { writeReport } from './write-report.ts';

let work = '';
beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-report-'));
});
afterAll(() => rm(work, { recursive: true, force: true }));

const plot: ReportPlot = {
  title: 'Loss & more',
  x: 'step',
  y: 'loss',
  curves: [
    {
      name: 'stage 1',
      points: Array.from({ length: 1000 }, (_, i) => [i, i === 500 ? Number.NaN : 1 / (i + 1)] as const),
    },
    {
      name: 'stage 2',
      points: [
        [0, 1],
        [999, 0.5],
      ],
    },
  ],
};

function overlay(): ReportOverlay {
  const { image, annotations } = generateScene(4, { width: 96, height: 64 });
  const { mask, point } = annotations[0]!;
  return {
    title: 'Scene 4',
    image,
    masks: [
      { label: 'truth', mask, point },
      { label: 'slim', mask: mask.map((v) => 1 - v) },
    ],
  };
}

test('one page holds it all; each plot and overlay is a PNG beside it', async () => {
  const folder = path.join(work, 'report');
  const { page, pictures } = await writeReport({
    folder,
    title: 'Slim < SAM',
    summary: 'First paragraph.\n\nSecond "one".',
    tables: [
      {
        title: 'Results',
        columns: ['model', 'mIoU'],
        rows: [
          ['teacher', 0.123456],
          ['slim', '–'],
        ],
        note: 'A note.',
      },
    ],
    plots: [plot],
    overlays: [overlay()],
  });
  expect((await readdir(folder)).sort()).toEqual([
    ...['overlay-1-scene-4.png', 'overlay-1-scene-4.svg', 'plot-1-loss-more.png', 'plot-1-loss-more.svg'],
    ...['report.html', 'report.md', 'table-1-results.png', 'table-1-results.svg'],
  ]);
  expect(pictures.map((file) => path.basename(file))).toEqual([
    'table-1-results.png',
    'plot-1-loss-more.png',
    'overlay-1-scene-4.png',
  ]);
  const html = await readFile(page, 'utf8');
  expect(html).toContain('<h1>Slim &lt; SAM</h1>');
  expect(html).toContain('<p>Second &quot;one&quot;.</p>');
  expect(html).toContain('<td>teacher</td><td class="number">0.1235</td>');
  expect(html).toContain('<td class="number">–</td>');
  expect(html).toContain('stage 2');
  expect(html).toContain('var(--ink)');
  expect(html.match(/src="data:image\/jpeg;base64,/g)).toHaveLength(3);
  expect(html.replaceAll(/xmlns(:xlink)?="[^"]*"/g, '')).not.toMatch(/https?:/);
  expect(html).not.toContain('NaN');
  const sizes = await Promise.all(pictures.map((file) => sharp(file).metadata()));
  expect(sizes.map(({ format }) => format)).toEqual(['png', 'png', 'png']);
  expect(sizes[1]!.width).toBeGreaterThan(1200);
  expect(sizes[2]!.width).toBe(2 * 24 + 3 * 360 + 2 * 12);
});

test('a mask is coloured inside and its point is marked', async () => {
  const { width, height } = { width: 90, height: 60 };
  const image = { width, height, data: new Uint8Array(width * height * 3).fill(100) };
  const mask = Uint8Array.from({ length: width * height }, (_, i) => (i % width < 45 ? 1 : 0));
  const { pictures } = await writeReport({
    folder: path.join(work, 'mask'),
    title: 'Mask',
    summary: '',
    overlays: [{ title: 'Half', image, masks: [{ label: 'left', mask, point: [20, 30] }] }],
  });
  const { data, info } = await sharp(pictures[0]!).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)];
  const column = 24 + 360 + 12;
  const near = (colour: number[], wanted: number[]) =>
    expect(Math.max(...colour.map((value, k) => Math.abs(value - wanted[k]!)))).toBeLessThan(20); // JPEG
  near(at(24 + 200, 60 + 100), [100, 100, 100]); // the image itself
  near(at(column + 30, 60 + 100), [73, 107, 158]); // inside: half of it, half blue
  near(at(column + 330, 60 + 100), [161, 161, 161]); // outside: lighter
  near(at(column + 82, 60 + 122), [232, 17, 45]); // the point
  near(at(24 + 82, 60 + 122), [232, 17, 45]); // in the image too
});

test('text is drawn with the fonts of the package alone', async () => {
  const svg = (text: string) =>
    `<svg xmlns="http://www.w3.org/2000/svg" width="200" height="40"><text x="5" y="30" font-size="24" font-family="Inter">${text}</text></svg>`;
  const ink = async (text: string) => (await sharp(await rasterise(svg(text), { scale: 1 })).stats()).channels[3]!.mean;
  expect(await ink('mIoU 0.67 → ≤ é')).toBeGreaterThan(5);
  expect(await ink(' ')).toBe(0);
});

test('a legend of many curves is no wider than the plot, and no two curves look the same', async () => {
  const names = Array.from({ length: 14 }, (_, i) => `blocks.${i}.attention`);
  const curves = (count: number) =>
    names.slice(0, count).map((name, i) => ({ name, points: [[0, i] as const, [9, 2 * i] as const] }));
  const sizes: number[] = [];
  for (const count of [2, 14]) {
    const svg = await plotPicture({ ...plot, curves: curves(count) });
    sizes.push(Number(/width="(\d+)"/.exec(svg)![1]));
    const lines = svg.matchAll(/<path aria-label[^>]*aria-roledescription="line mark"[^>]*>/g);
    const looks = [...lines].map(
      ([line]) => /stroke="[^"]*"/.exec(line)![0] + /stroke-dasharray="[^"]*"/.exec(line)?.[0],
    );
    expect(new Set(looks).size).toBe(count);
  }
  expect(Math.abs(sizes[1]! - sizes[0]!)).toBeLessThan(60); // vega only estimates how wide text is
});

test('an axis of one value is labelled by it, without zeros behind', async () => {
  const curves = ['a', 'b'].map((name, i) => ({ name, points: [[0.77, i / 4] as const] }));
  const svg = await plotPicture({ ...plot, curves, marks: 'points' });
  expect(svg).toContain('>0.77<');
  expect(svg).not.toMatch(/>0\.770+</);
});

test('intervals stand one below another, in their order, across the line they are compared with', async () => {
  const rows = [
    { name: 'second', mean: 0.02, low: 0.01, high: 0.04 },
    { name: 'first', mean: -0.01, low: -0.02, high: 0.01 },
    { name: 'unknown', mean: Number.NaN, low: 0, high: 0 },
  ];
  const svg = await plotPicture({ title: 'Ways', x: 'IoU less', line: 0, rows });
  const said = [...svg.matchAll(/aria-label="([^"]*)"/g)].map(([, text]) => text);
  expect(said).toEqual([
    ...["X-axis titled 'IoU less' for a linear scale with values from −0.03 to 0.04"],
    ...['Y-axis for a discrete scale with 2 values: second, first'], // what is not finite is left out
    ...['low: 0.01; name: second; high: 0.04', 'low: −0.02; name: first; high: 0.01'],
    ...['IoU less: 0.02; name: second', 'IoU less: −0.01; name: first', "Title text 'Ways'"],
  ]);
  expect(svg).toContain('stroke-dasharray="4,4"');
});

test('rows and masks of a wrong size are refused before anything is written; a signal stops', async () => {
  const folder = path.join(work, 'refused');
  const base = { folder, title: 'x', summary: '' };
  await expect(writeReport({ ...base, tables: [{ columns: ['a', 'b'], rows: [['1', '2'], ['3']] }] })).rejects.toThrow(
    "'table', row 1: expected 2 cells, got 1",
  );
  const wrong = { ...overlay(), masks: [{ label: 'slim', mask: new Uint8Array(3) }] };
  await expect(writeReport({ ...base, overlays: [wrong] })).rejects.toThrow(
    "'Scene 4', mask 'slim': expected 64 x 96 = 6144 pixels, got 3",
  );
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(writeReport({ ...base, overlays: [overlay()], signal })).rejects.toThrow('stop');
  expect((await readdir(work)).includes('refused') ? await readdir(folder) : []).toEqual([]);
  await writeFile(path.join(work, 'file'), '');
  await expect(writeReport({ ...base, folder: path.join(work, 'file') })).rejects.toThrow('file');
});

test('numbers and names of files', () => {
  expect(formatNumbers([12, 1234567])).toEqual(['12', '1,234,567']);
  expect(formatNumbers([0.66667, 0.5])).toEqual(['0.6667', '0.5000']);
  expect(formatNumbers([31.416, 2, 0.125])).toEqual(['31.42', '2.00', '0.13']);
  expect(formatNumbers([12345.6, -3])).toEqual(['12,346', '-3']);
  expect(formatNumbers([0.00001234, 0])).toEqual(['1.234e-5', '0.000e+0']);
  expect(slug('mIoU, one point (Été)')).toBe('miou-one-point-e-te');
  expect(slug('→')).toBe('untitled');
});
