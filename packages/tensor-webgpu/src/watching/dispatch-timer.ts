/** The device's timestamps, or the CPU's clock around each dispatch, which then runs alone. */
export type Clock = 'timestamp-query' | 'cpu';

/** What a profile says of a dispatch beside its time, and where its time goes. */
export interface Cost {
  readonly clock: Clock;
  /** The first of its recording: what came before is awaited. */
  readonly first: boolean;
  /** Takes the start and the end, milliseconds of the clock. */
  readonly finish: (start: number, end: number) => void;
}

/** Times dispatches, each in a compute pass of its own, by the device's timestamps. */
export class DispatchTimer {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #reads = new Set<Promise<void>>();
  #costs: Cost[] = [];

  /** `most`: dispatches between two submits. */
  constructor(device: GPUDevice, most: number) {
    this.#device = device;
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 * most });
    this.#resolved = device.createBuffer({ size: 16 * most, usage: queryResolve | copySrc, label: 'timestamps' });
  }

  dispose(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
  }

  /** What the pass of this dispatch has to write. */
  writes(cost: Cost): GPUComputePassTimestampWrites {
    const at = 2 * (this.#costs.push(cost) - 1);
    return { querySet: this.#queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }

  /** Ends a batch: encodes the copy of its timestamps, and returns what reads them after the submit. */
  resolve(encoder: GPUCommandEncoder): (() => void) | undefined {
    const costs = this.#costs;
    if (costs.length === 0) return undefined;
    this.#costs = [];
    const bytes = 16 * costs.length;
    const staging = this.#device.createBuffer({ size: bytes, usage: mapRead | copyDst, label: 'timestamps read back' });
    encoder.resolveQuerySet(this.#queries, 0, 2 * costs.length, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, bytes);
    return () => {
      const read = staging
        .mapAsync(mapModeRead)
        .then(() => {
          const times = new BigUint64Array(staging.getMappedRange());
          const first = times[0]!; // nanoseconds since some start: beyond float64's 2^53 after 104 days
          const at = (i: number) => Number(first / million) + Number(times[i]! - (first / million) * million) / 1e6;
          costs.forEach((cost, i) => {
            cost.finish(at(2 * i), at(2 * i + 1));
          });
        })
        .finally(() => {
          staging.destroy();
          this.#reads.delete(read);
        });
      read.catch(() => {}); // `settled` tells it
      this.#reads.add(read);
    };
  }

  /** Resolves when the times of all that is submitted are known. */
  async settled(): Promise<undefined> {
    await Promise.all(this.#reads);
  }
}

const million = 1_000_000n;
const mapRead = 0x1; // GPUBufferUsage.MAP_READ
const copySrc = 0x4; // GPUBufferUsage.COPY_SRC
const copyDst = 0x8; // GPUBufferUsage.COPY_DST
const queryResolve = 0x200; // GPUBufferUsage.QUERY_RESOLVE
const mapModeRead = 0x1; // GPUMapMode.READ
