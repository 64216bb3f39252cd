/** A file, or an image within one, as a tar holds it. */
export interface FilePart {
  readonly path: string | URL;
  /** Bytes; 0 unless given. */
  readonly offset?: number;
  /** Bytes; up to the file's end unless given. */
  readonly length?: number;
  /** Bytes of the whole file; when given, a file of another size is refused. */
  readonly size?: number;
}

/** A file's path in Node (an address in browsers), the URL of either, the file's bytes, or, in Node, a part of a file. */
export type ImageSource = string | URL | Uint8Array | Blob | FilePart;

/** Whether something names or holds an encoded image. */
export function isSource(source: unknown): source is ImageSource {
  if (typeof source === 'string' || source instanceof URL || source instanceof Uint8Array || source instanceof Blob)
    return true;
  return typeof source === 'object' && source !== null && 'path' in source;
}

/** How `decodeImage` brings values to 8 bits. */
export interface DecodeImageOptions {
  /**
   * true: images of more than 8 bits a value (microscopes, X-rays, depths) are scaled so that the largest value of the image becomes 255.
   * By default of 16 bits the upper 8 are kept, and of 32 bits and floats what is beyond 255 is cut off; a result of which nothing is
   * half as bright as white is warned of, once. In Node alone: a browser refuses it for such images.
   */
  readonly scaleByMaximum?: boolean;
  /**
   * Pixels of the largest image that Node decodes; 2^27 unless given (134 million, more than a medium-format camera's). A file of 38 bytes
   * can claim 268 million, which take 2 GB and many seconds.
   */
  readonly mostPixels?: number;
}

/** What a decoder is told. */
export interface DecodeHow extends Required<DecodeImageOptions> {
  /** Called with what is said of an image that comes out dark, or cut off. */
  readonly onDim: (what: string) => void;
}
