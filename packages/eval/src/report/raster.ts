import { fileURLToPath } from 'node:url';
import { Resvg } from '@resvg/resvg-js';

const fontFiles = ['Inter-Regular.ttf', 'Inter-SemiBold.ttf'].map((name) =>
  fileURLToPath(new URL(`../../fonts/${name}`, import.meta.url)),
);

/** The fonts that come with this package (Latin only): pictures have text where no font is installed. */
export const fontFamily = 'Inter';
export const titleFamily = 'Inter SemiBold';

/** Draws an SVG as PNG, `scale` pixels for each of its units. Text beyond Latin is drawn in the machine's own fonts. */
export function rasterise(svg: string, { scale }: { scale: number }): Uint8Array {
  const needsMore = /[^\p{ASCII}\u00a0-\u00ff\u2010-\u2026→×−≤≥≈Δμσπ±√∞]/u.test(svg);
  const options = {
    fitTo: { mode: 'zoom', value: scale },
    font: { fontFiles, loadSystemFonts: needsMore, defaultFontFamily: fontFamily },
  } as const;
  return new Resvg(svg, options).render().asPng();
}
