declare module 'jasmine-core' {
  /** The part that is used here; the package has no types of its own. */
  export interface Jasmine {
    DEFAULT_TIMEOUT_INTERVAL: number;
    getEnv(): {
      configure(options: { random: boolean; specFilter: (spec: { getFullName(): string }) => boolean }): void;
      addReporter(reporter: { specDone(result: SpecResult): void }): void;
      execute(): Promise<unknown>;
    };
  }

  /** What a reporter hears of one spec. */
  export interface SpecResult {
    readonly fullName: string;
    readonly status: 'passed' | 'failed' | 'pending' | 'excluded';
    readonly failedExpectations: readonly { readonly message: string }[];
  }

  const core: { boot(): Jasmine };
  export default core;
}
