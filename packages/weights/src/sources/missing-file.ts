/** Thrown when there is no such file, apart from files that cannot be read. */
export class MissingFile extends Error {}
