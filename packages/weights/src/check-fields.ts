/** What a field must be: a type of `typeof`, a list, or what `for await` takes. */
type Kind = 'object' | 'function' | 'number' | 'string' | 'list' | 'iterable';

const words: Readonly<Record<Kind, string>> = {
  object: 'an object',
  function: 'a function',
  number: 'a number',
  string: 'a string',
  list: 'a list',
  iterable: 'an iterable',
};

/**
 * Checks what a call is given, for callers without TypeScript: each field of `values` is of its kind, before anything of it is used.
 *
 * @param call the function's name, for errors
 * @param values the call's options, or its arguments by name
 * @throws when the values are no object, or a field is missing or of another kind: `importance: expected weights to be an object, got null`
 */
export function checkFields(call: string, values: unknown, kinds: Readonly<Record<string, Kind>>): void {
  if (typeof values !== 'object' || values === null)
    throw new Error(`${call}: expected options { ${Object.keys(kinds).join(', ')} }, got ${shown(values)}`);
  for (const [name, kind] of Object.entries(kinds)) {
    const value: unknown = (values as Readonly<Record<string, unknown>>)[name];
    if (!isOf(kind, value)) throw new Error(`${call}: expected ${name} to be ${words[kind]}, got ${shown(value)}`);
  }
}

function isOf(kind: Kind, value: unknown): boolean {
  if (kind === 'list') return Array.isArray(value) || ArrayBuffer.isView(value);
  if (kind === 'object') return typeof value === 'object' && value !== null;
  if (kind !== 'iterable') return typeof value === kind;
  return typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
}

function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (typeof value !== 'object' || value === null) return String(value).slice(0, 40);
  return Array.isArray(value) ? 'a list' : 'an object';
}
