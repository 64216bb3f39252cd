export type { RgbImage } from '../image.ts';
export { type EvaluationReport, writeEvaluationReport } from './evaluation-report.ts';
export type { Report, ReportIntervals, ReportOverlay, ReportPlot, ReportTable } from './report.ts';
export { writeReport } from './write-report.ts';
