export * from './index.ts';
export { type PhotographFile, photographsInFiles } from './photographs/in-files.ts';
export type { Metric } from './run/metrics.ts';
export { type BrowserFolder, type BrowserRun, openRun } from './run/open-browser-run.ts';
