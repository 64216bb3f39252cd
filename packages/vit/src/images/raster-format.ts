/** Formats that `decodeImage` reads. */
type RasterFormat = 'JPEG' | 'PNG' | 'WebP' | 'GIF' | 'TIFF' | 'AVIF' | 'BMP';

/** How a file of each format begins; `?` is any byte. */
const beginnings: readonly (readonly [RasterFormat, string])[] = [
  ['JPEG', '\xff\xd8\xff'],
  ['PNG', '\x89PNG\r\n\x1a\n'],
  ['WebP', 'RIFF????WEBP'],
  ['GIF', 'GIF87a'],
  ['GIF', 'GIF89a'],
  ['TIFF', 'II*\0'],
  ['TIFF', 'MM\0*'],
  ['TIFF', 'II+\0'], // BigTIFF
  ['TIFF', 'MM\0+'],
  ['AVIF', '????ftypavif'],
  ['AVIF', '????ftypavis'],
  ['AVIF', '????ftypmif1'],
  ['AVIF', '????ftypmiaf'],
  ['BMP', 'BM????\0\0\0\0'],
];

/** The format that a file's first bytes tell, whatever its name; undefined for anything else, vector graphics among them. */
export function rasterFormatOf(bytes: Uint8Array): RasterFormat | undefined {
  const fits = (beginning: string) =>
    bytes.length > beginning.length &&
    Array.from(beginning).every((character, i) => character === '?' || bytes[i] === character.charCodeAt(0));
  return beginnings.find(([, beginning]) => fits(beginning))?.[0];
}

/** @throws when the bytes are of none of these formats: SVG, PDF and others can hold programs, and names of other files */
export function checkRasterFormat(bytes: Uint8Array): void {
  if (rasterFormatOf(bytes)) return;
  if (/^\s*<(!doctype\s+html|html)/i.test(new TextDecoder().decode(bytes.subarray(0, 200))))
    throw new Error('an HTML page, as servers send for addresses that they do not know');
  const names = [...new Set(beginnings.map(([name]) => name))].join(', ');
  throw new Error(`no ${names} by its content, which begins with ${beginningOf(bytes)}`);
}

/** The first bytes: as text where they are, else in hexadecimal. */
function beginningOf(bytes: Uint8Array): string {
  const first = Array.from(bytes.subarray(0, 12));
  if (first.length === 0) return 'nothing';
  const isText = first.every((byte) => byte >= 0x20 && byte < 0x7f);
  if (isText) return JSON.stringify(String.fromCharCode(...first));
  return first.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
