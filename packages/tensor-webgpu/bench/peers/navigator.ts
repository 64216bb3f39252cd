import * as dawn from 'webgpu';

/**
 * Gives the peers what they expect of a browser: navigator.gpu and WebGPU's classes. Also slows Dawn's polling, which would take
 * one of the cores that a software adapter needs: all backends here wait by a timer of 1 ms instead of `setImmediate`.
 */
export function pretendBrowser(): void {
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu, userAgent: 'node', hardwareConcurrency: 2 },
    configurable: true,
    writable: true,
  });
  const later = (work: (...rest: unknown[]) => void, ...rest: unknown[]) => setTimeout(work, 1, ...rest);
  globalThis.setImmediate = later as unknown as typeof setImmediate;
}
