/** Where a tensor was made. */
export interface Origin {
  readonly order: number;
  /** The kernel that made it, or `values` for what came from the CPU. */
  readonly label: string;
  readonly shape: readonly number[];
  readonly stack: string;
}

/** A tensor that was made and not disposed. */
export interface Leak {
  /** The kernel that made it, or `values` for what came from the CPU. */
  readonly label: string;
  /** As it was made: later views have the same data. */
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly bytes: number;
  /** How many tensors still share the data. */
  readonly references: number;
  /** The calls that made it, this package's and tfjs-core's left out. */
  readonly stack: string;
}

/** Notes where tensors are made while somebody asks for it. */
export class Origins {
  #watchers = 0;
  #order = 0;

  /** Starts to note; tensors of an order up to `since` are older. */
  watch(): { since: number; stop: () => void } {
    this.#watchers++;
    return {
      since: this.#order,
      stop: () => {
        this.#watchers--;
      },
    };
  }

  /** Of a tensor that is made now; undefined while nobody asks. */
  of(label: string, shape: readonly number[]): Origin | undefined {
    if (this.#watchers === 0) return undefined;
    return { order: ++this.#order, label, shape: [...shape], stack: callersStack() };
  }
}

/** The calls outside of TensorFlow.js and this package's machinery, the innermost first. */
function callersStack(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50; // tidies and gradients nest deeper than the usual 10
  const { stack = '' } = new Error();
  Error.stackTraceLimit = limit;
  const calls = stack.split('\n').filter((line) => /^\s*at |@/.test(line)); // V8's form, or the other browsers'
  const outside = calls.filter((line) => !machinery.test(line));
  return (outside.length > 0 ? outside : calls).join('\n');
}

const machinery = /tfjs-core|tf-core|tensor-webgpu\/(src|dist)\/(?!.*[.]test)|node:internal|<anonymous>\)$/;
