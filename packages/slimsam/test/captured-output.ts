import { afterEach, beforeEach, vi } from 'vitest';

/** What a command line printed since a test began, on stdout and stderr; a test may empty it. */
export function capturedOutput(): { out: string; err: string } {
  const printed = { out: '', err: '' };
  const captured = (stream: 'out' | 'err', end: string) => (text: unknown) => {
    printed[stream] += `${text}${end}`;
    return true;
  };
  beforeEach(() => {
    Object.assign(printed, { out: '', err: '' });
    vi.spyOn(console, 'log').mockImplementation(captured('out', '\n'));
    vi.spyOn(console, 'warn').mockImplementation(captured('err', '\n'));
    vi.spyOn(process.stdout, 'write').mockImplementation(captured('out', ''));
    vi.spyOn(process.stderr, 'write').mockImplementation(captured('err', ''));
  });
  afterEach(() => vi.restoreAllMocks());
  return printed;
}
