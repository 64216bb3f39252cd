export { openQueue } from './queue.ts';
export { openS3Store } from './s3-store.ts';
export { work } from './worker.ts';
