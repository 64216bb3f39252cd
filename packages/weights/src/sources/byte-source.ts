/** A file: its path, its http(s) address (in a browser also a relative one), its bytes in memory, or a Blob, such as a browser's File. */
export type FileSource = string | URL | Uint8Array | Blob;

/** How far a file has been read, in bytes. */
export interface Progress {
  file: string;
  loaded: number;
  total: number;
}

export interface OpenOptions {
  /** Called as bytes arrive. */
  onProgress?: (progress: Progress) => void;
  /** Stops the loading. */
  signal?: AbortSignal;
  /** Milliseconds without a byte from a server after which a request is given up and tried again. Default 30,000. */
  timeout?: number;
}

/** A file whose bytes are read in pieces. */
export interface ByteSource {
  /** For errors. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Whether reads may overlap at no cost: a file's do, a server's stream goes forward. */
  readonly overlaps: boolean;
  /** The bytes [start, end). */
  read(start: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Not a browser: there are files. */
export const inNode: boolean = typeof process !== 'undefined' && !!process.versions?.node;

/** The address that a source is, undefined when it is a path. In a browser everything is an address, relative to the page's. */
export function addressOf(source: string | URL): URL | undefined {
  if (/^https?:/.test(String(source))) return new URL(source);
  return inNode ? undefined : new URL(source, globalThis.location?.href);
}
