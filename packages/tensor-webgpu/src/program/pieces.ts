import type { Program } from './program.ts';

/** The most floating-point operations of a dispatch, and between two submits: 2 s of a slow integrated GPU, whose watchdog ends longer ones. */
export const mostFlops = 1e11;

/**
 * `count` units of work of `flops` in all, in dispatches of at most `mostFlops` or one unit: `piece` makes the dispatch of `count` units
 * from number `first` on.
 */
export function inPieces(
  { count, flops }: { count: number; flops: number },
  piece: (first: number, count: number) => Pick<Program, 'workgroups' | 'uniforms'>,
): Pick<Program, 'workgroups' | 'uniforms' | 'more' | 'flops'> {
  const most = Math.max(1, Math.floor((count * mostFlops) / Math.max(flops, 1)));
  if (count <= most) return { ...piece(0, count), flops };
  const each = Math.ceil(count / Math.ceil(count / most));
  const more: Pick<Program, 'workgroups' | 'uniforms'>[] = [];
  for (let first = each; first < count; first += each) more.push(piece(first, Math.min(each, count - first)));
  return { ...piece(0, each), more, flops };
}
