import * as dawn from 'webgpu';

/** Gives the peers what they expect of a browser: navigator.gpu, with options of Dawn, and WebGPU's classes. */
export function pretendBrowser(options: string[] = []): void {
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(options);
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu, userAgent: 'node', hardwareConcurrency: 2 },
    configurable: true,
    writable: true,
  });
}

/** Slows Dawn's polling, which would take one of the cores that a CPU adapter needs: all backends here wait by a timer of 1 ms instead of `setImmediate`. */
export function pollSlowly(): void {
  const later = (work: (...rest: unknown[]) => void, ...rest: unknown[]) => setTimeout(work, 1, ...rest);
  Object.assign(globalThis, { setImmediate: later });
}
