export { type Job, type JobOf, type JobResult, jobHash, jobHead, jobTitle, parseJob, slimsamVersion } from './job.ts';
export { type LocalRunner, localRunner } from './local-runner.ts';
export { JobFailure, type JobProcess, startJobProcess, workerName } from './process/job-process.ts';
export type { FailedJob, JobQueue, QueueCounts, QueuePackage, WorkOptions } from './queue-package.ts';
export { type JobOutcome, type JobRunner, type RunJobsOptions, resultsInOrder, runJobs } from './run-jobs.ts';
export { getBlob, getFile, getResult, putBlob, putFile } from './store/blobs.ts';
export { openStore } from './store/open-store.ts';
export { checkKey, type Store, type StoredThing } from './store/store.ts';
