/** A folder on a disk, on a web server or on the Hub. */
export interface Folder {
  /** A file of it, for errors. */
  name(file: string): string;
  /** Path or address of a file. @throws MissingFile where it is known that there is none */
  find(file: string): Promise<string>;
  /** Names of its files, where they can be listed. */
  list?(): Promise<string[]>;
}
