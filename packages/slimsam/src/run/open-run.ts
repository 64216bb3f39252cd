import { appendFile, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { planPathOf, savePlan } from '@slimsam/prune';
import { checkFields, makeFolder } from '@slimsam/weights';
import type { Compressed } from '../compress/events.ts';
import type { RunStore } from '../compress/run-store.ts';
import { lock } from './lock.ts';
import { type RunFiles, runStoreOf, saveModel } from './run-store-of.ts';

/** A run in a folder. */
export interface RunFolder extends RunStore {
  readonly folder: string;
  /** Lets another process have the folder. */
  close(): Promise<void>;
}

/**
 * Keeps a run in a folder, which is made where it is missing. The process may be killed at any moment: files are whole or not at all, what
 * a killed write left is removed, and the same run goes on, bit for bit as if it had not been broken off.
 *
 * Its files are those of `runStoreOf`; `run.lock` names the process.
 *
 * @throws when another process has the folder, or it cannot be written
 */
export async function openRun(folder: string): Promise<RunFolder> {
  checkFields('openRun', { folder }, { folder: 'string' });
  await makeFolder(folder);
  const locked = await lock(folder);
  try {
    for (const name of await readdir(folder)) {
      if (/^\..*\.tmp$|^run\.lock\..*\.dead$/.test(name)) await rm(path.join(folder, name), { force: true });
    }
  } catch (error) {
    await locked.release();
    throw error;
  }
  return { ...runStoreOf(filesIn(folder)), folder, close: () => locked.release() };
}

function filesIn(folder: string): RunFiles {
  const at = (name: string) => path.join(folder, name);
  return {
    names: () => readdir(folder),
    title: at,
    source: async (name) => at(name),
    target: async (name) => at(name),
    text: (name) =>
      readFile(at(name), 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      }),
    append: (name, text) => appendFile(at(name), text),
    remove: (name) => rm(at(name), { force: true }),
  };
}

/** Saves a slim model with its config, and beside it the plan of what was pruned of the original. */
export async function savePruned(file: string, pruned: Pick<Compressed, 'model' | 'plan'>): Promise<void> {
  checkFields('savePruned', { file }, { file: 'string' });
  checkFields('savePruned', pruned, { model: 'object' });
  const { model, plan } = pruned;
  await savePlan(planPathOf(file), plan);
  await saveModel(file, model);
}
