import { SingleBar } from 'cli-progress';

/** Runs named phases of a program: a bar on a terminal, a line elsewhere, and the seconds of each. */
export interface Phases {
  /** Seconds by phase, in the order in which they ended. */
  readonly seconds: Readonly<Record<string, number>>;
  /** @param run hears a function to call with how many of `total` are done */
  run<T>(name: string, total: number, run: (tick: (done: number) => void) => Promise<T>): Promise<T>;
}

/** The phases of one program. */
export function phases(): Phases {
  const seconds: Record<string, number> = {};
  return {
    seconds,
    async run(name, total, run) {
      const start = performance.now();
      const bar = process.stderr.isTTY
        ? new SingleBar({ format: `${name.padEnd(26)} {bar} {value}/{total}  {eta} s left` })
        : undefined;
      bar?.start(total, 0);
      let told = start;
      try {
        const result = await run((done) => {
          bar?.update(done);
          if (bar || performance.now() - told < 20_000) return;
          told = performance.now();
          console.log(`  ${name}: ${done} of ${total}`);
        });
        seconds[name] = Number(((performance.now() - start) / 1000).toFixed(1));
        if (!bar) console.log(`${name}: ${seconds[name]} s`);
        return result;
      } finally {
        bar?.stop();
      }
    },
  };
}
