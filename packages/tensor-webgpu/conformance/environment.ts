/** Jasmine's globals, and the one test environment of tfjs-core's specs: this backend, read asynchronously. */
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util.js';
import jasmineCore from 'jasmine-core';
import { backendName, registerBackend } from './kernel-tally.ts';

/** What a reporter hears of one spec. */
export interface SpecResult {
  readonly fullName: string;
  readonly status: 'passed' | 'failed' | 'pending' | 'excluded';
  readonly failedExpectations: readonly { readonly message: string }[];
}

/** The part of Jasmine that is used here; it has no types of its own. */
interface Jasmine {
  DEFAULT_TIMEOUT_INTERVAL: number;
  getEnv(): {
    configure(options: { random: boolean; specFilter: (spec: { getFullName(): string }) => boolean }): void;
    addReporter(reporter: { specDone(result: SpecResult): void }): void;
    execute(): Promise<unknown>;
  };
}

export const jasmine: Jasmine = (jasmineCore as unknown as { boot(): Jasmine }).boot();
jasmine.DEFAULT_TIMEOUT_INTERVAL = 120_000; // pipelines compile slowly on software adapters
registerBackend();
setTestEnvs([{ name: backendName, backendName, isDataSync: false, flags: {} }]);
