import type { RgbImage } from '../image.ts';
import { optionalPeer } from '../optional-peer.ts';
import { fontFamily, titleFamily } from './raster.ts';
import { colours, type ReportOverlay } from './report.ts';
import { escapeMarkup } from './text.ts';

/** One column of an overlay. */
export interface Tile {
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly jpeg: Uint8Array;
}

const longestSide = 360; // pixels of a tile

/** The image alone, then each mask over it. */
export async function overlayTiles({ image, masks }: ReportOverlay): Promise<Tile[]> {
  const scale = longestSide / Math.max(image.width, image.height);
  const size = { width: Math.round(image.width * scale), height: Math.round(image.height * scale) };
  const channels = { ...image, channels: 3 } as const;
  const pixels = await resized(image.data, channels, size);
  const points = [...new Map(masks.flatMap(({ point }) => (point ? [[String(point), point]] : []))).values()];
  const tiles = [
    await tile(
      'image',
      pixels,
      size,
      points.map((point) => scaled(point, scale)),
    ),
  ];
  for (const [index, { label, mask, point }] of masks.entries()) {
    const share = await resized(
      mask.map((inside) => (inside ? 255 : 0)),
      { ...image, channels: 1 },
      size,
    );
    const tinted = tint(pixels, share, { ...size, colour: colours[index % colours.length]! });
    tiles.push(await tile(label, tinted, size, point ? [scaled(point, scale)] : []));
  }
  return tiles;
}

/** The tiles in one row with title and labels, as SVG. */
export function overlayPicture(title: string, tiles: readonly Tile[]): string {
  const [margin, gap, top, bottom] = [24, 12, 60, 44];
  const step = (tiles[0]?.width ?? 0) + gap;
  const width = 2 * margin + step * tiles.length - gap;
  const height = top + (tiles[0]?.height ?? 0) + bottom;
  const columns = tiles.map(({ label, jpeg, ...size }, i) => {
    const x = margin + i * step;
    return `<image x="${x}" y="${top}" width="${size.width}" height="${size.height}" href="${dataUri(jpeg)}"/>
<text x="${x}" y="${top + size.height + 26}" font-size="17" fill="#1b212c">${escapeMarkup(label)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${fontFamily}">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${margin}" y="38" font-size="20" font-family="${titleFamily}" fill="#1b212c">${escapeMarkup(title)}</text>
${columns.join('\n')}
</svg>`;
}

/** A JPEG in the text of a page. */
export function dataUri(jpeg: Uint8Array): string {
  return `data:image/jpeg;base64,${Buffer.from(jpeg).toString('base64')}`;
}

const loadSharp = async () => (await optionalPeer('writeReport', 'sharp', () => import('sharp'))).default;

const scaled = ([x, y]: readonly [number, number], scale: number) => [(x + 0.5) * scale, (y + 0.5) * scale] as const;

async function resized(
  data: Uint8Array,
  { width, height, channels }: { width: number; height: number; channels: 1 | 3 },
  size: { width: number; height: number },
): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const image = sharp(data, { raw: { width, height, channels } }).resize({ ...size, fit: 'fill', kernel: 'cubic' });
  return (channels === 1 ? image.toColourspace('b-w') : image).raw().toBuffer();
}

/** Colours what is inside, draws its border, and takes colour and light from what is outside. */
function tint(
  pixels: Uint8Array,
  share: Uint8Array,
  { width, height, colour }: { width: number; height: number; colour: string },
): Uint8Array {
  const rgb = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  const out = new Uint8Array(pixels.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const here = share[at]!;
      const inside = Math.min(1, Math.max(0, (here - 96) / 64));
      const slopeX = (share[at + (x < width - 1 ? 1 : 0)]! - share[at - (x > 0 ? 1 : 0)]!) / 2;
      const slopeY = (share[at + (y < height - 1 ? width : 0)]! - share[at - (y > 0 ? width : 0)]!) / 2;
      const slope = Math.hypot(slopeX, slopeY);
      const away = slope > 4 ? Math.abs(here - 127.5) / slope : 9; // pixels from the border
      const border = Math.min(1, Math.max(0, 2.2 - away));
      const grey = (pixels[at * 3]! + pixels[at * 3 + 1]! + pixels[at * 3 + 2]!) / 3;
      for (let k = 0; k < 3; k++) {
        const value = pixels[at * 3 + k]!;
        const outside = 0.55 * (0.5 * value + 0.5 * grey) + 0.45 * 235;
        const coloured = 0.5 * value + 0.5 * rgb[k]!;
        const filled = outside + (coloured - outside) * inside;
        out[at * 3 + k] = filled + (rgb[k]! * 0.8 - filled) * border;
      }
    }
  }
  return out;
}

async function tile(
  label: string,
  pixels: Uint8Array,
  { width, height }: Pick<RgbImage, 'width' | 'height'>,
  points: readonly (readonly [number, number])[],
): Promise<Tile> {
  const marks = points.map(
    ([x, y]) =>
      `<circle cx="${x}" cy="${y}" r="7" fill="#e8112d" stroke="#ffffff" stroke-width="2.5"/><circle cx="${x}" cy="${y}" r="8.8" fill="none" stroke="#000000" stroke-opacity="0.45"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${marks.join('')}</svg>`;
  const sharp = await loadSharp();
  const jpeg = await sharp(pixels, { raw: { width, height, channels: 3 } })
    .composite([{ input: Buffer.from(svg) }])
    .jpeg({ quality: 88, chromaSubsampling: '4:4:4' })
    .toBuffer();
  return { label, width, height, jpeg };
}
