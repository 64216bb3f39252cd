/** Jasmine's globals, and the one test environment of tfjs-core's specs: this backend, read asynchronously. */
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util.js';
import jasmineCore from 'jasmine-core';
import { backendName, registerBackend } from './kernel-tally.ts';

export const jasmine: ReturnType<typeof jasmineCore.boot> = jasmineCore.boot();
jasmine.DEFAULT_TIMEOUT_INTERVAL = 120_000; // pipelines compile slowly on software adapters
registerBackend();
setTestEnvs([{ name: backendName, backendName, isDataSync: false, flags: {} }]);
