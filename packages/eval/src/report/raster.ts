import { createRequire } from 'node:module';
import { optionalPeer } from '../optional-peer.ts';

/** Where the package keeps them. */
function fontFiles(): string[] {
  const { resolve } = createRequire(import.meta.url);
  try {
    return ['400Regular/Inter_400Regular.ttf', '600SemiBold/Inter_600SemiBold.ttf'].map((name) =>
      resolve(`@expo-google-fonts/inter/${name}`),
    );
  } catch (error) {
    const name = '@expo-google-fonts/inter';
    throw new Error(`writeReport: expected the package '${name}', got none; npm install ${name}`, { cause: error });
  }
}

/** The fonts of that package: pictures have text where no font is installed. */
export const fontFamily = 'Inter';
export const titleFamily = 'Inter SemiBold';

/** Draws an SVG as PNG, `scale` pixels for each of its units. Text beyond Inter's letters is drawn in the machine's own fonts. */
export async function rasterise(svg: string, { scale }: { scale: number }): Promise<Uint8Array> {
  const { Resvg } = await optionalPeer('writeReport', '@resvg/resvg-js', () => import('@resvg/resvg-js'));
  const needsMore = /[^\p{ASCII}\u00a0-\u00ff\u2010-\u2026→×−≤≥≈Δμσπ±√∞]/u.test(svg);
  const options = {
    fitTo: { mode: 'zoom', value: scale },
    font: { fontFiles: fontFiles(), loadSystemFonts: needsMore, defaultFontFamily: fontFamily },
  } as const;
  return new Resvg(svg, options).render().asPng();
}
