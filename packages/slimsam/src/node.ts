export * from './index.ts';
export type { CacheOptions } from './photographs/decoding/resized-cache.ts';
export type { PhotographItem } from './photographs/listing/items.ts';
export type { PhotographLocation } from './photographs/listing/list-source.ts';
export { type OpenPhotographsOptions, openPhotographs } from './photographs/open-photographs.ts';
