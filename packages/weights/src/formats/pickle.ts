/** A class or function that a pickle names. It is only a name: nothing is imported or called. */
export interface GlobalName {
  kind: 'global';
  name: string;
}

/** An object of a pickled class: the class's name and the fields it was given. */
export interface Instance {
  kind: 'instance';
  name: string;
  state: unknown;
}

/** What the reader asks back. Both throw for what they do not know. */
export interface PickleRules {
  /** Whether a pickle may name this class or function at all. */
  allow(name: string): boolean;
  /** Stands in for the call of a function of the list. */
  call(name: string, inputs: readonly unknown[]): unknown;
  /** Stands in for data that lies outside of the pickle. */
  persistent(id: unknown): unknown;
}

const mark = Symbol('mark');

/**
 * Reads a Python pickle (protocols 2 to 5, the opcodes that PyTorch writes) as plain values: dict and OrderedDict -> Map, list and
 * tuple -> array, set -> Set, objects -> `Instance`. Never runs anything: names that `rules` do not allow are refused.
 *
 * @param source the file's name, for errors
 * @throws when a name is not allowed, an opcode is unknown, or the pickle is truncated
 */
export function readPickle(bytes: Uint8Array, source: string, rules: PickleRules): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;

  const fail = (expected: string, got: string): never => {
    throw new Error(`readPickle: expected ${expected} in ${source}, got ${got}`);
  };
  const skip = (length: number): number => {
    if (at + length > bytes.length) fail(`${length} bytes at ${at}`, `${bytes.length - at}; truncated?`);
    at += length;
    return at - length;
  };
  const byte = () => bytes[skip(1)]!;
  const uint32 = () => view.getUint32(skip(4), true);
  const text = (length: number) => {
    const start = skip(length);
    return new TextDecoder().decode(bytes.subarray(start, start + length));
  };
  const line = () => {
    const end = bytes.indexOf(10, at);
    if (end < 0) fail('a line', 'its start alone; truncated?');
    const value = text(end - at);
    at++;
    return value;
  };
  const pop = (): unknown => {
    if (stack.length === 0) fail('a value on the stack', 'none; damaged?');
    return stack.pop();
  };
  const popMark = () => {
    const start = stack.lastIndexOf(mark);
    if (start < 0) fail('a mark on the stack', 'none; damaged?');
    return stack.splice(start).slice(1);
  };
  const remember = (index: number) => memo.set(index, stack.at(-1));
  const recall = (index: number) => {
    if (!memo.has(index)) fail(`value ${index} to be known`, 'none; damaged?');
    stack.push(memo.get(index));
  };
  const global = (module: string, name: string) => {
    const full = `${module}.${name}`;
    if (!rules.allow(full)) {
      fail('only names of PyTorch tensors and modules', `'${full}', which was not called; do not trust this file`);
    }
    stack.push({ kind: 'global', name: full } satisfies GlobalName);
  };
  const tuple = (length: number) => {
    if (stack.length < length) fail(`${length} values on the stack`, `${stack.length}; damaged?`);
    stack.push(stack.splice(stack.length - length));
  };
  const setItems = (items: unknown[]) => {
    const target = stack.at(-1);
    if (!(target instanceof Map)) return fail('a dict', describe(target));
    for (let i = 0; i + 1 < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const append = (items: unknown[]) => {
    const target = stack.at(-1);
    if (Array.isArray(target)) for (const item of items) target.push(item);
    else if (target instanceof Set) for (const item of items) target.add(item);
    else fail('a list or a set', describe(target));
  };
  const build = (state: unknown) => {
    const target = stack.at(-1);
    if (isInstance(target)) target.state = state;
    else if (!(target instanceof Map)) fail('an object', describe(target)); // an OrderedDict's own fields do not matter
  };
  const long = (length: number) => {
    let value = 0n;
    const start = skip(length);
    for (let i = length - 1; i >= 0; i--) value = value * 256n + BigInt(bytes[start + i]!);
    stack.push(Number(BigInt.asIntN(8 * length, value)));
  };

  for (;;) {
    const place = at;
    const code = byte();
    switch (String.fromCharCode(code)) {
      case '\x80': // PROTO
        byte();
        break;
      case '\x95': // FRAME
        skip(8);
        break;
      case '.': // STOP
        return pop();
      case '(': // MARK
        stack.push(mark);
        break;
      case '0': // POP
        pop();
        break;
      case '2': // DUP
        stack.push(stack.at(-1));
        break;
      case 'N':
        stack.push(null);
        break;
      case '\x88':
        stack.push(true);
        break;
      case '\x89':
        stack.push(false);
        break;
      case 'K': // BININT1
        stack.push(byte());
        break;
      case 'M': // BININT2
        stack.push(view.getUint16(skip(2), true));
        break;
      case 'J': // BININT
        stack.push(view.getInt32(skip(4), true));
        break;
      case '\x8a': // LONG1
        long(byte());
        break;
      case 'G': // BINFLOAT
        stack.push(view.getFloat64(skip(8), false));
        break;
      case 'X': // BINUNICODE
        stack.push(text(uint32()));
        break;
      case '\x8c': // SHORT_BINUNICODE
        stack.push(text(byte()));
        break;
      case '}': // EMPTY_DICT
        stack.push(new Map());
        break;
      case ']': // EMPTY_LIST
      case ')': // EMPTY_TUPLE
        stack.push([]);
        break;
      case '\x8f': // EMPTY_SET
        stack.push(new Set());
        break;
      case 't': // TUPLE
        stack.push(popMark());
        break;
      case '\x85': // TUPLE1 to TUPLE3
      case '\x86':
      case '\x87':
        tuple(code - 0x84);
        break;
      case 's': // SETITEM
        tuple(2);
        setItems(pop() as unknown[]);
        break;
      case 'u': // SETITEMS
        setItems(popMark());
        break;
      case 'a': // APPEND
        append([pop()]);
        break;
      case 'e': // APPENDS
      case '\x90': // ADDITEMS
        append(popMark());
        break;
      case 'q': // BINPUT
        remember(byte());
        break;
      case 'r': // LONG_BINPUT
        remember(uint32());
        break;
      case '\x94': // MEMOIZE
        remember(memo.size);
        break;
      case 'h': // BINGET
        recall(byte());
        break;
      case 'j': // LONG_BINGET
        recall(uint32());
        break;
      case 'c': // GLOBAL
        global(line(), line());
        break;
      case '\x93': {
        // STACK_GLOBAL
        const name = pop();
        global(String(pop()), String(name));
        break;
      }
      case 'R': {
        // REDUCE
        const inputs = pop();
        const called = pop();
        if (!isGlobal(called) || !Array.isArray(inputs)) return fail('a call of a named function', describe(called));
        stack.push(rules.call(called.name, inputs));
        break;
      }
      case '\x81': {
        // NEWOBJ
        pop();
        const made = pop();
        if (!isGlobal(made)) return fail('an object of a named class', describe(made));
        stack.push({ kind: 'instance', name: made.name, state: null } satisfies Instance);
        break;
      }
      case 'b': // BUILD
        build(pop());
        break;
      case 'Q': // BINPERSID
        stack.push(rules.persistent(pop()));
        break;
      default:
        fail('an opcode that PyTorch writes', `0x${code.toString(16)} at ${place}; damaged, or not a pickle`);
    }
  }
}

export function isInstance(value: unknown): value is Instance {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'instance';
}

export function isGlobal(value: unknown): value is GlobalName {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'global';
}

/** A value in a few words, for errors. */
export function describe(value: unknown): string {
  if (isGlobal(value) || isInstance(value)) return `'${value.name}'`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dict of ${value.size}`;
  return typeof value === 'symbol' ? 'a mark' : String(value).slice(0, 40);
}
