import type { WebgpuBackend } from '../backend.ts';
import type { Program } from '../program/program.ts';

/** A program that can do a piece of work. */
export interface Candidate {
  /** Unique among those of the work. */
  readonly name: string;
  readonly program: () => Program;
}

/** Work that several programs can do. */
export interface Tunable {
  /** Those that are worth a try, first the one to take as long as nothing is measured. */
  readonly candidates: () => readonly Candidate[];
  /** All among which those of any work of the class are. */
  readonly all: () => readonly Candidate[];
  /** Elements of each input. */
  readonly operands: readonly number[];
  /** Shapes of the outputs. */
  readonly results: readonly (readonly number[])[];
}

/** What `tune` knows of a backend. */
interface Tuning {
  /** Names of candidates by classes of work. */
  readonly winners: Map<string, string>;
  /** Each takes one piece of work of every class that is met. */
  readonly met: Set<Map<string, Tunable>>;
}

const tunings = new WeakMap<WebgpuBackend, Tuning>();

export function tuningOf(backend: WebgpuBackend): Tuning {
  const known = tunings.get(backend) ?? { winners: new Map(), met: new Set() };
  tunings.set(backend, known);
  return known;
}

/** Whether the backend was ever tuned: else nobody need ask for candidates. */
export const isTuned = (backend: WebgpuBackend): boolean => tunings.has(backend);

/** The program that was measured to be the fastest for a class of work, if one was. */
export function tunedProgram(backend: WebgpuBackend, kernel: string, work: Tunable): Program | undefined {
  const { met, winners } = tuningOf(backend);
  for (const list of met) if (!list.has(kernel)) list.set(kernel, work);
  const winner = winners.get(kernel);
  return winner === undefined
    ? undefined
    : work
        .all()
        .find(({ name }) => name === winner)
        ?.program();
}

/** A size that varies from call to call in a class's name: up to the next power of two. */
export const upTo = (size: number): string => (size > 2 ? `..${2 ** Math.ceil(Math.log2(size))}` : String(size));
