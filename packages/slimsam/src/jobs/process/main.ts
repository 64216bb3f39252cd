/** The program of a job process: opens a backend and a store once, then runs the jobs that its parent sends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openBackend } from '../../backend/open-backend.ts';
import { slimsamVersion } from '../job.ts';
import { executeJob } from '../kinds/execute-job.ts';
import type { Workplace } from '../kinds/workplace.ts';
import { openStore } from '../store/open-store.ts';
import type { FromProcess, ToProcess } from './messages.ts';

let workplace: Workplace | undefined;
let stop: AbortController | undefined;

const send = (message: FromProcess) => void process.send?.(message);
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function open(options: Extract<ToProcess, { type: 'open' }>): Promise<void> {
  const { worker } = options;
  const store = await openStore(options.store);
  const opened = await openBackend(options.backend, { adapter: options.adapter });
  const folder = await mkdtemp(path.join(tmpdir(), 'slimsam-job-'));
  const { adapter, features = [] } = opened;
  workplace = { store, folder, adapter, worker, version: slimsamVersion, models: new Map() };
  send({ type: 'opened', adapter, features });
}

async function run({ job }: Extract<ToProcess, { type: 'run' }>): Promise<void> {
  stop = new AbortController();
  try {
    await executeJob(job, { ...workplace!, signal: stop.signal });
    send({ type: 'done' });
  } catch (error) {
    const message = textOf(error);
    const kind = stop.signal.aborted ? 'stopped' : /device (was|is) lost|lost device/i.test(message) ? 'lost' : 'job';
    send({ type: 'failed', kind, message });
  }
}

process.on('message', (message: ToProcess) => {
  if (message.type === 'stop') stop?.abort(new Error('stopped'));
  else {
    const doing = message.type === 'open' ? open(message) : run(message);
    doing.catch((error: unknown) => send({ type: 'failed', kind: 'job', message: textOf(error) }));
  }
});
process.once('disconnect', () => {
  const done = () => process.exit(1);
  if (workplace) rm(workplace.folder, { recursive: true, force: true }).then(done, done);
  else done();
});
for (const name of ['SIGINT', 'SIGHUP'] as const) process.on(name, () => {}); // a terminal sends it to all; the parent decides
