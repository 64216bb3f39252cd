import type { RawTensor } from './formats/raw-tensor.ts';

/** A plain field of a pickled module. */
export type Attribute = string | number | boolean;

/** A file of tensors of which only the names are in memory. */
export interface TensorFile {
  /** For errors. */
  readonly name: string;
  /** In the order of the file: reading them in this order goes through it once. */
  readonly tensors: Readonly<Record<string, { dtype: RawTensor['dtype']; shape: readonly number[] }>>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of a whole PyTorch module by dotted names, like 'image_encoder.blocks.0.attn.num_heads'. */
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Objects of unknown classes in a PyTorch file that were left alone, as 'name: class'; nothing of them was called. */
  readonly opaque: readonly string[];
  /** Reads one tensor's values. */
  read(name: string): Promise<RawTensor>;
  /** A JSON file beside it, like 'config.json'; undefined where there is none, and of bytes and single files of a web server. */
  json(name: string): Promise<unknown>;
  close(): Promise<void>;
}
