import type { Worker } from 'node:worker_threads';
import { startWorker } from '../../threads/start-worker.ts';
import type { Decoded, DecodeTask, FromWorker, ToWorker } from './task.ts';

/** Worker threads that decode. They start with the first task, and do not keep the process alive while they have none. */
export interface DecodePool {
  /** Rejects when the worker ends, which its photograph alone cannot make it do. */
  decode(task: DecodeTask): { readonly id: number; readonly decoded: Promise<Decoded> };
  /** Tasks whose results nobody waits for any more: those that have not begun never will. */
  leave(ids: readonly number[]): void;
  close(): Promise<void>;
}

interface Member {
  readonly worker: Worker;
  readonly tasks: Map<number, { resolve(decoded: Decoded): void; reject(error: Error): void }>;
}

/** @param size worker threads */
export function createDecodePool(size: number): DecodePool {
  const members = new Set<Member>();
  let ids = 0;
  let closing: Promise<void> | undefined;

  function start(): Member {
    const worker = startWorker({ of: import.meta.url, path: './decode-worker' }, { name: 'photographs' });
    const member: Member = { worker, tasks: new Map() };
    worker.on('message', ({ id, decoded }: FromWorker) => {
      member.tasks.get(id)?.resolve(decoded);
      finish(member, id);
    });
    const end = (error: Error): void => {
      members.delete(member);
      for (const task of member.tasks.values()) task.reject(error);
      member.tasks.clear();
    };
    worker.on('error', (error) => end(new Error(`photographs: a worker ended: ${error.message}`, { cause: error })));
    worker.on('exit', (code) => end(closing ? closedError() : new Error(`photographs: a worker ended, code ${code}`)));
    members.add(member);
    return member;
  }

  /** The least busy one; a new one while there are fewer than `size` and all are busy. */
  function pick(): Member {
    const [least] = [...members].sort((a, b) => a.tasks.size - b.tasks.size);
    return least && (least.tasks.size === 0 || members.size >= size) ? least : start();
  }

  return {
    decode(task) {
      const id = ids++;
      if (closing) return { id, decoded: Promise.reject(closedError()) };
      const member = pick();
      const decoded = new Promise<Decoded>((resolve, reject) => member.tasks.set(id, { resolve, reject }));
      member.worker.ref();
      member.worker.postMessage({ id, task } satisfies ToWorker);
      return { id, decoded };
    },
    leave(ids) {
      for (const member of members) {
        const own = ids.filter((id) => member.tasks.has(id));
        if (own.length > 0) member.worker.postMessage({ leave: own } satisfies ToWorker);
      }
    },
    close() {
      closing ??= Promise.all([...members].map(({ worker }) => worker.terminate())).then(() => {});
      return closing;
    },
  };
}

/** An idle worker does not keep the process alive. */
function finish({ worker, tasks }: Member, id: number): void {
  tasks.delete(id);
  if (tasks.size === 0) worker.unref();
}

const closedError = (): Error => new Error('photographs: expected open photographs, got closed ones');
