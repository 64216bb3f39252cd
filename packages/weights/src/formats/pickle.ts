import { printable } from './printable.ts';

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

/** An object of a class that is not known here: its name and what it holds. Nothing of it is called. */
export interface Opaque {
  kind: 'opaque';
  name: string;
  /** What the pickle gives it: constructor inputs, state, items. */
  parts: unknown[];
}

/** What the reader asks back. All throw for what must not be there. */
export interface PickleRules {
  /** Whether objects of this class or calls of this function are understood; others become `Opaque`. */
  knows(name: string): boolean;
  /** Stands in for the call of a known function. */
  call(name: string, inputs: readonly unknown[]): unknown;
  /** Stands in for data that lies outside of the pickle. */
  persistent(id: unknown): unknown;
}

const mark = Symbol('mark');

/** Bytes of a pickle; that of SAM-H, saved whole, has 0.3 MB, since the storages lie beside it. */
const longestPickle = 2 ** 26;
/** Values on the stack or in the memo at once: each takes one byte of a file and some fifty of memory. */
const mostValues = 1_000_000;
/** Dicts, lists, tuples, sets and objects; SAM-H's state dict has 10,000. Each takes one byte of a file and up to 200 of memory. */
const mostContainers = 500_000;
/** Elements that `set(list)` copies in all: three bytes of a file copy a list of any length. */
const mostCopies = 1_000_000;

/** Letters of a class with its module. */
const longestName = 1000;

/** Modules that no checkpoint needs and every attack does. None would be called; a file that names one is not to be trusted. */
const hostile =
  /^(os|posix|nt|sys|subprocess|pty|shutil|socket|ctypes|runpy|importlib|code|codeop|webbrowser|pickle|marshal|multiprocessing|threading|asyncio|commands|platform|pip|operator|functools)([.]|$)|^(builtins|__builtin__)[.](eval|exec|execfile|compile|open|input|getattr|setattr|delattr|__import__|globals|locals|vars|breakpoint|exit|quit)$/;

/**
 * Reads a Python pickle (protocols 2 to 5, the opcodes that PyTorch writes) as plain values: dict and OrderedDict -> Map, list and
 * tuple -> array, set -> Set, bytes -> Uint8Array, objects -> `Instance`, objects of unknown classes -> `Opaque`. Never runs anything.
 *
 * @param source the file's name, for errors
 * @throws when it names a module that can run programs, an opcode is unknown, the pickle is truncated, or it is beyond the limits above
 */
export function readPickle(bytes: Uint8Array, source: string, rules: PickleRules): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  let containers = 0;
  let copies = 0;

  const fail = (expected: string, got: string): never => {
    throw new Error(printable(`readPickle: expected ${expected} in ${source}, got ${got}`));
  };
  if (bytes.length > longestPickle) fail(`a pickle of at most ${longestPickle} bytes`, `${bytes.length}`);
  const push = (value: unknown) => {
    if (stack.length === mostValues) fail(`at most ${mostValues} values on the stack`, 'more; damaged?');
    stack.push(value);
  };
  const pushContainer = (value: unknown) => {
    if (++containers > mostContainers) fail(`at most ${mostContainers} dicts, lists and objects`, 'more; damaged?');
    push(value);
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
  const remember = (index: number) => {
    if (memo.size >= mostValues) fail(`at most ${mostValues} values in the memo`, 'more; damaged?');
    memo.set(index, stack.at(-1));
  };
  const recall = (index: number) => {
    if (!memo.has(index)) fail(`value ${index} to be known`, 'none; damaged?');
    push(memo.get(index));
  };
  const global = (module: unknown, name: unknown) => {
    if (typeof module !== 'string' || typeof name !== 'string')
      return fail('a module and a name as text', `${describe(module)}, ${describe(name)}`);
    if (module.length + name.length > longestName) fail(`names of at most ${longestName} letters`, 'more; damaged?');
    const full = `${module}.${name}`;
    if (hostile.test(full))
      fail('only names of tensors and plain objects', `'${full}', which was not called; do not trust this file`);
    pushContainer({ kind: 'global', name: full } satisfies GlobalName);
  };
  const opaque = (name: string, parts: unknown[]) => pushContainer({ kind: 'opaque', name, parts } satisfies Opaque);
  const tuple = (length: number) => {
    if (stack.length < length) fail(`${length} values on the stack`, `${stack.length}; damaged?`);
    pushContainer(stack.splice(stack.length - length));
  };
  const setItems = (target: unknown, items: unknown[]) => {
    if (items.length % 2 === 1) fail('a value for every key', `${items.length} values; damaged?`);
    if (isOpaque(target)) for (const item of items) target.parts.push(item);
    else if (!(target instanceof Map)) fail('a dict', describe(target));
    else for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const append = (items: unknown[]) => {
    const target = stack.at(-1);
    if (Array.isArray(target)) for (const item of items) target.push(item);
    else if (target instanceof Set) for (const item of items) target.add(item);
    else if (isOpaque(target)) for (const item of items) target.parts.push(item);
    else fail('a list or a set', describe(target));
  };
  const build = (state: unknown) => {
    const target = stack.at(-1);
    if (isInstance(target)) target.state = state;
    else if (isOpaque(target)) target.parts.push(state);
    else if (!(target instanceof Map)) fail('an object', describe(target)); // an OrderedDict's own fields do not matter
  };
  const long = (length: number) => {
    if (length > 256) fail('a whole number of at most 256 bytes', `${length}; damaged?`);
    let value = 0n;
    const start = skip(length);
    for (let i = length - 1; i >= 0; i--) value = value * 256n + BigInt(bytes[start + i]!);
    push(Number(BigInt.asIntN(8 * length, value)));
  };
  const wideLength = () => {
    const length = view.getBigUint64(skip(8), true);
    if (length > BigInt(bytes.length)) fail('bytes within the pickle', `${length}; truncated?`);
    return Number(length);
  };
  const data = (length: number) => {
    const start = skip(length);
    pushContainer(bytes.subarray(start, start + length));
  };
  /** REDUCE: `inputs` is a tuple of the pickle. */
  const call = (called: unknown, inputs: unknown) => {
    if (!isGlobal(called) || !Array.isArray(inputs)) return fail('a call of a named function', describe(called));
    if (!rules.knows(called.name)) return opaque(called.name, [inputs]);
    if (Array.isArray(inputs[0])) copies += called.name.endsWith('.set') ? inputs[0].length : 0;
    if (copies > mostCopies) fail(`at most ${mostCopies} elements in sets`, 'more; damaged?');
    pushContainer(rules.call(called.name, inputs));
  };
  /** NEWOBJ: the fields come with BUILD. */
  const make = (made: unknown, inputs: unknown) => {
    if (!isGlobal(made)) return fail('an object of a named class', describe(made));
    if (rules.knows(made.name)) pushContainer({ kind: 'instance', name: made.name, state: null } satisfies Instance);
    else opaque(made.name, [inputs]);
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
        push(mark);
        break;
      case '0': // POP
        pop();
        break;
      case '1': // POP_MARK
        popMark();
        break;
      case '2': // DUP
        if (stack.length === 0) fail('a value on the stack', 'none; damaged?');
        push(stack.at(-1));
        break;
      case 'N':
        push(null);
        break;
      case '\x88':
        push(true);
        break;
      case '\x89':
        push(false);
        break;
      case 'K': // BININT1
        push(byte());
        break;
      case 'M': // BININT2
        push(view.getUint16(skip(2), true));
        break;
      case 'J': // BININT
        push(view.getInt32(skip(4), true));
        break;
      case '\x8a': // LONG1
        long(byte());
        break;
      case '\x8b': // LONG4
        long(uint32());
        break;
      case 'G': // BINFLOAT
        push(view.getFloat64(skip(8), false));
        break;
      case 'X': // BINUNICODE
        push(text(uint32()));
        break;
      case '\x8c': // SHORT_BINUNICODE
        push(text(byte()));
        break;
      case '\x8d': // BINUNICODE8
        push(text(wideLength()));
        break;
      case 'C': // SHORT_BINBYTES
        data(byte());
        break;
      case 'B': // BINBYTES
        data(uint32());
        break;
      case '\x8e': // BINBYTES8
      case '\x96': // BYTEARRAY8
        data(wideLength());
        break;
      case '}': // EMPTY_DICT
        pushContainer(new Map());
        break;
      case ']': // EMPTY_LIST
      case ')': // EMPTY_TUPLE
        pushContainer([]);
        break;
      case '\x8f': // EMPTY_SET
        pushContainer(new Set());
        break;
      case '\x91': // FROZENSET
      case 't': // TUPLE
        pushContainer(popMark());
        break;
      case '\x85': // TUPLE1 to TUPLE3
      case '\x86':
      case '\x87':
        tuple(code - 0x84);
        break;
      case 's': // SETITEM
        setItems(stack.at(-3), [pop(), pop()].reverse());
        break;
      case 'u': {
        // SETITEMS
        const items = popMark();
        setItems(stack.at(-1), items);
        break;
      }
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
        global(pop(), name);
        break;
      }
      case 'R': {
        // REDUCE
        const inputs = pop();
        call(pop(), inputs);
        break;
      }
      case '\x81': {
        // NEWOBJ
        const inputs = pop();
        make(pop(), inputs);
        break;
      }
      case '\x92': {
        // NEWOBJ_EX
        const inputs = [pop(), pop()];
        make(pop(), inputs);
        break;
      }
      case 'b': // BUILD
        build(pop());
        break;
      case 'Q': // BINPERSID
        pushContainer(rules.persistent(pop()));
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

export function isOpaque(value: unknown): value is Opaque {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'opaque';
}

/** A value in a few words, for errors; never its parts, which may be shared a billion times. */
export function describe(value: unknown): string {
  if (isGlobal(value) || isInstance(value) || isOpaque(value)) return `'${value.name}'`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Map) return `a dict of ${value.size}`;
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'symbol' ? 'a mark' : String(value).slice(0, 40);
}
