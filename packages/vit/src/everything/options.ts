import { type PointGrid, pointGrid } from './crops.ts';

/** How far `segmentEverything` has got. */
export interface EverythingProgress {
  /** Points answered, of all crops. */
  readonly done: number;
  readonly total: number;
  /** Crops begun, the whole image being the first. */
  readonly crop: number;
  readonly crops: number;
  /** Masks found so far that may yet turn out to be duplicates. */
  readonly masks: number;
  /** Masks decoded so far; those that are not among `masks` are below a threshold or cut off by a crop. */
  readonly decoded: number;
  /** Of the decoded masks those above `predIouThresh`. */
  readonly wellPredicted: number;
  /** The highest predicted IoU of the decoded masks. */
  readonly bestIou: number;
}

/** What `segmentEverything` asks and keeps. Names and defaults are those of segment-anything's SamAutomaticMaskGenerator. */
export interface EverythingOptions {
  /** Points along each side of the grid, 32 by default. */
  readonly pointsPerSide?: number;
  /** Own points instead of a grid, for the whole image and for each layer of crops: [layers, P, 2], x and y in [0, 1]. */
  readonly pointGrids?: readonly PointGrid[];
  /** Points decoded at once, 64 by default; fewer if `memoryLimit` asks for it. The masks do not depend on it. */
  readonly pointsPerBatch?: number;
  /** Masks stay whose predicted IoU is above it, 0.88 by default; all of them if it is 0 or less. */
  readonly predIouThresh?: number;
  /** Masks stay whose stability score is at least this, 0.95 by default; all of them if it is 0 or less. */
  readonly stabilityScoreThresh?: number;
  /** How far, in logits, the threshold moves to tell how stable a mask is; 1 by default. */
  readonly stabilityScoreOffset?: number;
  /** Of two boxes of one crop whose IoU is above it the one with the better predicted IoU stays, 0.7 by default. */
  readonly boxNmsThresh?: number;
  /** Layers of crops, 0 by default; layer l looks at 2^l x 2^l parts of the image. */
  readonly cropNLayers?: number;
  /** Of two boxes of different crops whose IoU is above it the one from the smaller crop stays, 0.7 by default. */
  readonly cropNmsThresh?: number;
  /** How far the crops of the first layer overlap, as a share of the shorter side; 512 / 1500 by default. */
  readonly cropOverlapRatio?: number;
  /** Layer l has pointsPerSide / factor^l points along each side, rounded down; 1 by default. */
  readonly cropNPointsDownscaleFactor?: number;
  /** Holes and islands of fewer pixels are removed; 0 by default, which keeps all. */
  readonly minMaskRegionArea?: number;
  /** The logit above which a pixel is inside, 0 by default. */
  readonly maskThreshold?: number;
  /** Bytes of tensors that decoding may hold beside the weights, about; 1 GiB by default. One point and one mask at a time is the least. */
  readonly memoryLimit?: number;
  /** Ends the work between two batches. */
  readonly signal?: AbortSignal;
  /** Called after every batch. */
  readonly onProgress?: (progress: EverythingProgress) => void;
}

/** The options, complete and checked. */
export interface EverythingSettings
  extends Required<
    Omit<EverythingOptions, 'pointsPerSide' | 'pointGrids' | 'cropNLayers' | 'cropNPointsDownscaleFactor' | 'signal'>
  > {
  /** One for each layer, that of the whole image first. */
  readonly grids: readonly PointGrid[];
  readonly signal: AbortSignal | undefined;
}

/** Options that are numbers: their default and what they may be. */
const rules = {
  pointsPerSide: { usual: 32, expected: 'a whole number of at least 1', holds: isCount },
  pointsPerBatch: { usual: 64, expected: 'a whole number of at least 1', holds: isCount },
  predIouThresh: { usual: 0.88, expected: 'a number', holds: Number.isFinite },
  stabilityScoreThresh: { usual: 0.95, expected: 'a number of at most 1', holds: (x: number) => x <= 1 },
  stabilityScoreOffset: { usual: 1, expected: 'a number of at least 0', holds: isAmount },
  boxNmsThresh: { usual: 0.7, expected: 'a number in [0, 1]', holds: isShare },
  cropNLayers: { usual: 0, expected: 'a whole number of at least 0', holds: (x: number) => x === 0 || isCount(x) },
  cropNmsThresh: { usual: 0.7, expected: 'a number in [0, 1]', holds: isShare },
  cropOverlapRatio: { usual: 512 / 1500, expected: 'a number in [0, 1)', holds: (x: number) => isShare(x) && x < 1 },
  cropNPointsDownscaleFactor: { usual: 1, expected: 'a whole number of at least 1', holds: isCount },
  minMaskRegionArea: { usual: 0, expected: 'a number of pixels of at least 0', holds: isAmount },
  maskThreshold: { usual: 0, expected: 'a number', holds: Number.isFinite },
  memoryLimit: { usual: 2 ** 30, expected: 'a number of bytes above 0', holds: (x: number) => isAmount(x) && x > 0 },
} satisfies Record<string, { usual: number; expected: string; holds: (value: number) => boolean }>;

type Numbers = Record<keyof typeof rules, number>;

const functions = ['onProgress', 'encode'] as const;

/** Fills in the defaults. @throws when an option is unknown or out of its range, naming it and the cure */
export function settingsOf(options: EverythingOptions & { readonly encode?: unknown }): EverythingSettings {
  const known = [...Object.keys(rules), ...functions, 'pointGrids', 'signal'];
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw error(`options among ${known.join(', ')}`, `'${name}'`, 'leave it out');
  }
  for (const name of functions) {
    const value = options[name];
    if (value !== undefined && typeof value !== 'function')
      throw error(`${name} to be a function`, String(value), 'leave it out');
  }
  const numbers = Object.fromEntries(
    Object.entries(rules).map(([name, { usual, expected, holds }]) => {
      const value = options[name as keyof Numbers] ?? usual;
      if (typeof value !== 'number' || !holds(value)) {
        throw error(`${name} to be ${expected}`, String(value), `leave it out for ${Number(usual.toPrecision(3))}`);
      }
      return [name, value];
    }),
  ) as Numbers;
  const { pointsPerSide, cropNLayers, cropNPointsDownscaleFactor, ...rest } = numbers;
  return {
    ...rest,
    grids: options.pointGrids
      ? ownGrids(options, cropNLayers)
      : evenGrids(pointsPerSide, { layers: cropNLayers, factor: cropNPointsDownscaleFactor }),
    signal: options.signal,
    onProgress: options.onProgress ?? (() => {}),
  };
}

function evenGrids(perSide: number, { layers, factor }: { layers: number; factor: number }): PointGrid[] {
  return Array.from({ length: layers + 1 }, (_, layer) => {
    const points = Math.floor(perSide / factor ** layer);
    if (points < 1) {
      throw error(
        `pointsPerSide of at least ${factor} ** ${layer} for crop layer ${layer}`,
        String(perSide),
        'raise it, or lower cropNPointsDownscaleFactor or cropNLayers',
      );
    }
    return pointGrid(points);
  });
}

function ownGrids({ pointGrids = [], pointsPerSide }: EverythingOptions, layers: number): PointGrid[] {
  if (pointsPerSide !== undefined) {
    throw error('pointsPerSide or pointGrids', 'both', 'leave pointsPerSide out for points of your own');
  }
  if (pointGrids.length < layers + 1) {
    const cure = 'give one for the whole image and one for each crop layer';
    throw error(`${layers + 1} pointGrids for cropNLayers ${layers}`, String(pointGrids.length), cure);
  }
  const grids = pointGrids.slice(0, layers + 1);
  grids.forEach((grid, layer) => {
    const name = `pointGrids[${layer}]`;
    if (grid.length === 0) throw error(`${name} with points`, 'none', 'give at least one point');
    grid.forEach((point, i) => {
      if (point.length === 2 && point.every(isShare)) return;
      throw error(`${name}[${i}] to be x and y in [0, 1]`, `[${point}]`, 'divide pixels by width and height');
    });
  });
  return grids;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

function isAmount(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}

function isShare(value: number): boolean {
  return value >= 0 && value <= 1;
}

function error(expected: string, got: string, cure: string): Error {
  return new Error(`segmentEverything: expected ${expected}, got ${got}; ${cure}`);
}
