/** What an argument must be. */
type Kind = 'a backend' | 'a function' | 'an object' | 'a profile' | 'a string' | 'a boolean' | 'a device';

/** Whether a value is of a kind: those of ours by what is read of them. */
const isOf: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  'a backend': (value) => has(value, 'facts', 'run', 'record', 'trackTensors'),
  'a function': (value) => typeof value === 'function',
  'an object': (value) => has(value),
  'a profile': (value) => has(value, 'adapter', 'clock', 'ceiling', 'kernels', 'dispatches'),
  'a string': (value) => typeof value === 'string',
  'a boolean': (value) => typeof value === 'boolean',
  'a device': (value) => has(value, 'createBuffer', 'queue', 'limits', 'features'),
};

const has = (value: unknown, ...names: readonly string[]): boolean =>
  typeof value === 'object' && value !== null && names.every((name) => name in value);

/**
 * Checks what a function is called with, for callers without TypeScript.
 *
 * @param values the arguments, or an object's fields, by name
 * @param kinds what each must be; with a '?' it may be left out
 * @throws `profile: expected work to be a function, got none` for the first that is not
 */
export function checkCall(
  call: string,
  values: unknown,
  kinds: Readonly<Record<string, Kind | `${Kind}?`>>,
): asserts values is Readonly<Record<string, unknown>> {
  if (!has(values))
    throw new Error(`${call}: expected options { ${Object.keys(kinds).join(', ')} }, got ${shown(values)}`);
  for (const [name, wanted] of Object.entries(kinds)) {
    const value: unknown = Reflect.get(values as object, name);
    const kind = wanted.replace('?', '') as Kind;
    if ((value === undefined && wanted.endsWith('?')) || isOf[kind](value)) continue;
    throw new Error(`${call}: expected ${name} to be ${kind}, got ${shown(value)}`);
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (typeof value !== 'object' || value === null) return String(value).slice(0, 40);
  return Array.isArray(value) ? 'a list' : 'an object';
}
