/** A worker that completes each job at once, for what the queue itself costs: `stand-in.ts URL NAME`. */
import { Worker } from 'bullmq';

const [, , url = '', name = ''] = process.argv;
const { hostname: host, port } = new URL(url);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const worker = new Worker(name, async () => {}, { connection, concurrency: 50, removeOnComplete: { count: 100 } });
worker.on('error', () => {});
process.once('SIGTERM', () => process.exit(0));
