import type { WebgpuBackend } from '@slimsam/tensor-webgpu';
import type { GpuRow } from './rows.ts';

/** What the parts of the bench share. */
export interface Bench {
  readonly backend: WebgpuBackend;
  /** Tiny models and operands. */
  readonly small: boolean;
  /** Of a case by its name. */
  readonly wanted: (name: string) => boolean;
  /** Measures a case, prints and keeps its row; one that fails has the reason in its place. */
  readonly row: (name: string, measure: () => Promise<Omit<GpuRow, 'case'>>) => Promise<void>;
}
