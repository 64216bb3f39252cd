/**
 * The page's pictures in the documentation, of those that `npm run test:page` left in out/page:
 *
 *     node --import tsx docs/pictures/page.ts
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

const here = fileURLToPath(new URL('.', import.meta.url));
const taken = (name: string) => sharp(path.join(here, '../../out/page', `${name}.png`));
const kept = (name: string) => path.join(here, name);

for (const [name, from] of [
  ['page-segment', 'segment-light-1280'],
  ['page-compress', 'compress-done-light-1280'],
  ['page-compare', 'compare-dark-1280'],
] as const)
  await taken(from)
    .resize({ width: 960 })
    .png({ palette: true })
    .toFile(kept(`${name}.png`));
await taken('segment-dark-360').png({ palette: true }).toFile(kept('page-360.png'));

const columns = [
  ['light-1280', 480],
  ['dark-1280', 480],
  ['light-360', 120],
  ['dark-360', 120],
] as const;
const [gap, height] = [8, 338];
const layers: { input: Buffer; left: number; top: number }[] = [];
const views = ['segment', 'everything', 'compress', 'compress-done', 'compare'];
for (const [row, view] of views.entries()) {
  let left = gap;
  for (const [look, width] of columns) {
    const fit = { width, height, fit: 'contain', position: 'top', background: '#808080' } as const;
    const input = await taken(`${view}-${look}`).resize(fit).png().toBuffer();
    layers.push({ input, left, top: gap + row * (height + gap) });
    left += width + gap;
  }
}
const width = gap + columns.reduce((sum, [, width]) => sum + width + gap, 0);
const whole = { width, height: gap + views.length * (height + gap), channels: 3, background: '#808080' } as const;
await sharp({ create: whole }).composite(layers).jpeg({ quality: 80, mozjpeg: true }).toFile(kept('page-views.jpg'));
