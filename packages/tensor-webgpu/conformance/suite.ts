/**
 * TensorFlow.js's own specs against this backend. conformance/run.ts bundles this file together with tfjs-core: the specs and the
 * backend must share one copy of it.
 */
import './environment.ts'; // first: the specs register with the environment that it sets
import '@tensorflow/tfjs-core/dist/tests.js';
import type { SpecResult } from 'jasmine-core';
import { jasmine } from './environment.ts';
import { adapterName, close, type KernelCount, ranKernels, summarize } from './kernel-tally.ts';

export interface Failure {
  readonly spec: string;
  readonly reason: string;
}

export interface SuiteResult {
  readonly adapter: string;
  readonly passed: number;
  readonly failed: number;
  readonly pending: number;
  readonly failures: readonly Failure[];
  readonly kernels: readonly KernelCount[];
}

/** Runs the specs whose full name contains one of `filters` (all of them when there are none), in their order, and frees the backend. */
export async function runSuite(options: {
  readonly filters: readonly string[];
  readonly onProgress: (counts: { passed: number; failed: number; pending: number }, failure?: Failure) => void;
}): Promise<SuiteResult> {
  const { filters, onProgress } = options;
  const counts = { passed: 0, failed: 0, pending: 0 };
  const failures: Failure[] = [];
  const env = jasmine.getEnv();
  env.configure({
    random: false,
    specFilter: (spec) => filters.length === 0 || filters.some((filter) => spec.getFullName().includes(filter)),
  });
  env.addReporter({
    specDone({ fullName, status, failedExpectations }: SpecResult) {
      const ran = ranKernels();
      if (status === 'excluded') return;
      if (status !== 'passed' && status !== 'failed') counts.pending++;
      else counts[status]++;
      if (status === 'passed' || status === 'failed') summarize.add(ran, status);
      if (status !== 'failed') return onProgress(counts);
      const failure = { spec: fullName, reason: failedExpectations[0]?.message.split('\n')[0] ?? 'no message' };
      failures.push(failure);
      onProgress(counts, failure);
    },
  });
  await env.execute();
  const result = { adapter: adapterName(), ...counts, failures, kernels: summarize.all() };
  close();
  return result;
}
