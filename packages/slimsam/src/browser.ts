export * from './index.ts';
export type { Metric } from './run/metrics.ts';
export { type BrowserRun, openRun } from './run/open-browser-run.ts';
