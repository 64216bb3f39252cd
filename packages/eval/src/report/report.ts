import type { RgbImage } from '../image.ts';

/** A table of results. */
export interface ReportTable {
  readonly title?: string;
  readonly columns: readonly string[];
  /** Cells; a column with numbers stands to the right, with equally many decimals. */
  readonly rows: readonly (readonly (string | number)[])[];
  readonly note?: string;
}

/** Curves over one pair of axes. */
export interface ReportPlot {
  readonly title: string;
  /** Names of the axes. */
  readonly x: string;
  readonly y: string;
  /** Lines unless given; 'bars' stand on the x axis side by side, 'points' are not joined. */
  readonly marks?: 'lines' | 'bars' | 'points';
  /** The y axis by powers of ten; a value of 0 or less leaves a gap. */
  readonly logarithmic?: boolean;
  /** Points [x, y] in order; what is not finite leaves a gap; more than 400 points are averaged to 400. */
  readonly curves: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
}

/** Means with their intervals, one below another. */
export interface ReportIntervals {
  readonly title: string;
  /** Name of the axis. */
  readonly x: string;
  /** What they are compared with: a line across, such as 0 for differences. */
  readonly line?: number;
  readonly rows: readonly {
    readonly name: string;
    readonly mean: number;
    readonly low: number;
    readonly high: number;
  }[];
}

/** Masks of one image, side by side. */
export interface ReportOverlay {
  readonly title: string;
  readonly image: RgbImage;
  readonly masks: readonly {
    readonly label: string;
    /** [height * width] of the image, not 0 inside */
    readonly mask: Uint8Array;
    /** The prompt: [x, y] in pixels of the image. */
    readonly point?: readonly [number, number];
  }[];
}

export interface Report {
  readonly title: string;
  /** Paragraphs, parted by empty lines. */
  readonly summary: string;
  readonly tables?: readonly ReportTable[];
  readonly plots?: readonly (ReportPlot | ReportIntervals)[];
  readonly overlays?: readonly ReportOverlay[];
}

/** Colours of curves and masks, in their order: legible on white and on black, and for the colour-blind. */
export const colours: readonly string[] = ['#2f72d9', '#e4720b', '#159b6a', '#b04cc4', '#d23b5e', '#0d93a8'];
