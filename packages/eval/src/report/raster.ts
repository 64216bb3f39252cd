import { createRequire } from 'node:module';
import { Resvg } from '@resvg/resvg-js';

const fontFiles = ['400Regular/Inter_400Regular.ttf', '600SemiBold/Inter_600SemiBold.ttf'].map((name) =>
  createRequire(import.meta.url).resolve(`@expo-google-fonts/inter/${name}`),
);

/** The fonts of that package: pictures have text where no font is installed. */
export const fontFamily = 'Inter';
export const titleFamily = 'Inter SemiBold';

/** Draws an SVG as PNG, `scale` pixels for each of its units. Text beyond Inter's letters is drawn in the machine's own fonts. */
export function rasterise(svg: string, { scale }: { scale: number }): Uint8Array {
  const needsMore = /[^\p{ASCII}\u00a0-\u00ff\u2010-\u2026→×−≤≥≈Δμσπ±√∞]/u.test(svg);
  const options = {
    fitTo: { mode: 'zoom', value: scale },
    font: { fontFiles, loadSystemFonts: needsMore, defaultFontFamily: fontFamily },
  } as const;
  return new Resvg(svg, options).render().asPng();
}
