export { backends, type OpenBackend, openBackend } from './backend/open-backend.ts';
export { evaluationTable } from './cli/evaluation-table.ts';
export { parse } from './cli/options.ts';
export { type Bar, type Output, output } from './cli/output.ts';
export { present } from './cli/present.ts';
export { stopSignal } from './cli/stop-signal.ts';
export * from './index.ts';
export type { CacheOptions } from './photographs/decoding/resized-cache.ts';
export type { PhotographItem } from './photographs/listing/items.ts';
export type { PhotographLocation } from './photographs/listing/list-source.ts';
export { type OpenPhotographsOptions, openPhotographs } from './photographs/open-photographs.ts';

export { type FinishedRun, finishRun } from './report/finish-run.ts';
export { type RunReport, writeRunReport } from './report/run-report.ts';
export type { Metric } from './run/metrics.ts';
export { openRun, type RunFolder, savePruned } from './run/open-run.ts';
export { readMetrics } from './run/read-metrics.ts';
export { openTeacherCache, type TeacherCacheOptions } from './teacher-cache/open-teacher-cache.ts';

export type { ViewOptions, ViewSource } from './training/compose-view.ts';
export { type ComposerInputs, type ViewComposer, viewComposer } from './training/compose-views.ts';
export { type LabelledPhotograph, readLabelled } from './training/labelled-photographs.ts';
export { measurePrompts, type PromptIous } from './training/measure-prompts.ts';
export { type StreamCache, streamFolder } from './training/stream-cache.ts';
export { type TrainingRow, type TrainRunEvent, type TrainRunOptions, trainRun } from './training/train-run.ts';
export { type SamTrainingState, type SamTrainingStep, type TrainSamOptions, trainSam } from './training/train-sam.ts';
