/** What a field must be: a type of `typeof`, or what `words` says. */
type Kind = 'object' | 'function' | 'number' | 'string' | 'boolean' | 'list' | 'iterable' | 'path' | 'bytes' | 'tensor';

const words: Readonly<Record<Kind, string>> = {
  object: 'an object',
  function: 'a function',
  number: 'a number',
  string: 'a string',
  boolean: 'a boolean',
  list: 'a list',
  iterable: 'an iterable',
  path: 'a path or an address',
  bytes: 'bytes as a Uint8Array',
  tensor: 'a tensor',
};

/**
 * Checks what a call is given, for callers without TypeScript: each field of `values` is of its kind, before anything of it is used.
 *
 * @param call the function's name, for errors
 * @param values the call's options, or its arguments by name
 * @param kinds of the fields; those that end in '?' may be left out
 * @throws when the values are no object, or a field is missing or of another kind: `importance: expected weights to be an object, got null`
 */
export function checkFields(call: string, values: unknown, kinds: Readonly<Record<string, Kind | `${Kind}?`>>): void {
  if (typeof values !== 'object' || values === null)
    throw new Error(`${call}: expected options { ${Object.keys(kinds).join(', ')} }, got ${shown(values)}`);
  for (const [name, wanted] of Object.entries(kinds)) {
    const value: unknown = (values as Readonly<Record<string, unknown>>)[name];
    if (value === undefined && wanted.endsWith('?')) continue;
    const kind = wanted.replace('?', '') as Kind;
    if (!isOf(kind, value)) throw new Error(`${call}: expected ${name} to be ${words[kind]}, got ${shown(value)}`);
  }
}

function isOf(kind: Kind, value: unknown): boolean {
  const isObject = typeof value === 'object' && value !== null;
  switch (kind) {
    case 'object':
      return isObject;
    case 'list':
      return Array.isArray(value) || ArrayBuffer.isView(value);
    case 'iterable':
      return isObject && (Symbol.iterator in value || Symbol.asyncIterator in value);
    case 'path':
      return typeof value === 'string' || value instanceof URL;
    case 'bytes':
      return value instanceof Uint8Array;
    case 'tensor':
      return isObject && 'shape' in value && 'dtype' in value && Array.isArray(value.shape);
    default:
      return typeof value === kind;
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (typeof value !== 'object' || value === null) return String(value).slice(0, 40);
  return Array.isArray(value) ? 'a list' : 'an object';
}
