import type { AdapterFacts, SubgroupTile } from '../../device/open-device.ts';
import { type MatmulSpec, partUnit } from './matmul.wgsl.ts';
import { extentOf } from './matmul-subgroup.wgsl.ts';
import type { TileShape } from './matmul-tile.wgsl.ts';

/** A shape, and what share of the adapter's peak its text reaches where the grid fills the adapter, by vendor. */
interface Tile {
  readonly shape: TileShape;
  /** Measured on an H100; those with two digits after the point were not, but scaled. */
  readonly nvidia: number;
  /** Modelled for RDNA 3 from the code that AMD's compiler makes (`npm run gpu:stats`), which ranks and does not predict. */
  readonly amd: number;
  /** By the spills that Intel's compiler makes of SIMD16, a quarter of the registers (`npm run gpu:stats`). */
  readonly intel: number;
}

const tile = (
  [rows, columns, threadRows, threadVectors, depth]: readonly [number, number, number, number, number],
  shares: Omit<Tile, 'shape'>,
): Tile => ({ shape: { rows, columns, threadRows, threadVectors, depth, halfSums: false, turns: true }, ...shares });

const withoutTurns = (one: Tile): Tile => ({ ...one, shape: { ...one.shape, turns: false } });

/** All stay within the 16 KiB and 256 threads that every adapter has. Two of 100 waste 2 % of the 196 rows of a window, two of 128 40 %. */
const tiles: readonly Tile[] = [
  tile([128, 128, 16, 2, 16], { nvidia: 0.6, amd: 0.84, intel: 0.05 }),
  tile([128, 128, 8, 2, 16], { nvidia: 0.48, amd: 0.8, intel: 0.08 }),
  tile([64, 128, 8, 2, 16], { nvidia: 0.58, amd: 0.77, intel: 0.08 }),
  tile([128, 64, 8, 1, 16], { nvidia: 0.51, amd: 0.61, intel: 0.15 }),
  tile([64, 64, 8, 1, 16], { nvidia: 0.53, amd: 0.6, intel: 0.14 }),
  tile([100, 100, 10, 1, 8], { nvidia: 0.43, amd: 0.52, intel: 0.1 }),
  tile([64, 64, 4, 1, 8], { nvidia: 0.35, amd: 0.4, intel: 0.3 }),
  withoutTurns(tile([64, 64, 4, 1, 4], { nvidia: 0, amd: 0, intel: 0.32 })), // the only one that spills nothing on Intel
  tile([32, 32, 4, 1, 16], { nvidia: 0.3, amd: 0.38, intel: 0.2 }),
  tile([32, 32, 2, 1, 32], { nvidia: 0.2, amd: 0.31, intel: 0.2 }),
];

/** The same with sums of a block in float16, but for the largest, whose parts would not fit the registers beside their sums, and for long blocks, which round too often. */
const halfTiles: readonly Tile[] = tiles
  .filter(({ shape }) => 4 * shape.threadRows * shape.threadVectors <= 64 && shape.depth <= 16)
  .map((one) => ({ ...one, shape: { ...one.shape, halfSums: true } }));

type Sizes = Pick<MatmulSpec, 'M' | 'N' | 'batch' | 'parts'> & Partial<Pick<MatmulSpec, 'halfC'>>;
type Facts = Pick<AdapterFacts, 'vendor' | 'isCpu'> & Partial<Pick<AdapterFacts, 'architecture'>>;

/**
 * Invocations that fill the adapter: 192 of the large tiles, of 128 each, for the 96 to 144 processors of the largest GPUs. A CPU without
 * the panels' subgroups has few cores.
 */
const filling = { cpu: 1024, gpu: 24576 };

/** Whose shares hold for an adapter, and the invocations that fill it. */
interface Adapter {
  readonly vendor: 'nvidia' | 'amd' | 'intel';
  readonly filling: number;
}

function adapterOf({ vendor, isCpu }: Facts): Adapter {
  const known = /intel/i.test(vendor) ? 'intel' : /nvidia/i.test(vendor) ? 'nvidia' : 'amd';
  return { vendor: known, filling: filling[isCpu ? 'cpu' : 'gpu'] };
}

/** The share of the peak that is expected of a tile for these sizes: less where it sticks out of C, or leaves processors idle. */
function expectedShare(one: Tile, { M, N, batch, parts }: Sizes, { vendor, filling }: Adapter): number {
  const { rows, columns, threadRows, threadVectors } = one.shape;
  const [down, across] = [Math.ceil(M / rows), Math.ceil(N / columns)];
  const useful = (M * N) / (down * rows * across * columns);
  const invocations = ((down * across * batch * parts * rows) / threadRows) * (columns / (4 * threadVectors));
  return one[vendor] * useful * Math.min(1, invocations / filling);
}

/** The tile to take as long as nothing is measured. This is asked for at every matmul. */
export function bestTile(sizes: Sizes, facts: Facts): TileShape {
  const adapter = adapterOf(facts);
  let best = tiles[0]!;
  let most = 0;
  for (const one of inHalves(sizes, facts) ? halfTiles : tiles) {
    const share = expectedShare(one, sizes, adapter);
    if (share <= most) continue;
    best = one;
    most = share;
  }
  return best.shape;
}

/**
 * Results in half precision take float16 arithmetic, but on CPUs, which have none, and from RDNA 3 on, which issues two float32 instructions at once:
 * by the model of `npm run gpu:stats` 130 % of the float32 peak on RDNA 2, 69 % on RDNA 3, where float32 reaches 86 %. It was not measured on a GPU.
 */
const inHalves = ({ halfC = false }: Sizes, { isCpu, architecture = '' }: Facts): boolean =>
  halfC && !isCpu && !/^rdna-[3-9]/.test(architecture);

/** All, first the one that is expected to be the fastest; in half precision the best two of each arithmetic come first. */
export function rankedTiles(sizes: Sizes, facts: Facts): readonly TileShape[] {
  const adapter = adapterOf(facts);
  const ranked = (list: readonly Tile[]) => {
    const shares = new Map(list.map((one) => [one, expectedShare(one, sizes, adapter)]));
    return [...list].sort((a, b) => shares.get(b)! - shares.get(a)!).map(({ shape }) => shape);
  };
  const floats = ranked(tiles);
  if (!sizes.halfC || facts.isCpu) return floats;
  const halves = ranked(halfTiles);
  const [first, second] = inHalves(sizes, facts) ? [halves, floats] : [floats, halves];
  return [...first.slice(0, 2), ...second.slice(0, 2), ...first.slice(2), ...second.slice(2)];
}

const fullGrid = 96; // workgroups of the large tile that leave no processor of a large GPU long idle
const leastUseful = 0.5; // of a tile's sums: below it the subgroups' advantage is spent on what is not stored

/** For results in half precision those of the adapter's subgroup tiles that fit the sizes, the fullest first. */
export function subgroupTilesFor(
  { M, N, batch, halfC, parts }: Pick<MatmulSpec, 'M' | 'N' | 'batch' | 'halfC' | 'parts'>,
  { subgroupTiles }: Pick<AdapterFacts, 'subgroupTiles'>,
): readonly SubgroupTile[] {
  if (!halfC || subgroupTiles.length === 0) return [];
  const share = (tile: SubgroupTile): number => {
    const { rows, columns } = extentOf(tile);
    const [down, across] = [Math.ceil(M / rows), Math.ceil(N / columns)];
    const useful = (M * N) / (down * rows * across * columns);
    return useful < leastUseful ? 0 : useful * Math.min(1, (down * across * batch * parts) / fullGrid) * reuse(tile);
  };
  const fitting = subgroupTiles.filter((tile) => share(tile) > 0);
  return fitting.sort((a, b) => share(b) - share(a));
}

/** How often what a workgroup brings from storage is used, of what the largest tiles reach: they are compared by it. */
const reuse = (tile: SubgroupTile): number => {
  const { rows, columns } = extentOf(tile);
  return Math.min(1, (rows * columns) / (rows + columns) / 64);
};

const shortestPart = 256;

/** How many parts of K fill a GPU when C has only few large tiles, as a weight's gradient has. */
export function partsForGpu({ M, N, K, batch }: Pick<MatmulSpec, 'M' | 'N' | 'K' | 'batch'>): number {
  const groups = Math.ceil(M / 128) * Math.ceil(N / 128) * batch;
  const wanted = Math.min(Math.ceil((2 * fullGrid) / groups), Math.floor(K / shortestPart));
  if (groups >= fullGrid || wanted < 2) return 1;
  const units = Math.ceil(K / partUnit);
  return Math.ceil(units / Math.ceil(units / wanted)); // none is empty
}
