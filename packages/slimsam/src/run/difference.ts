/** Where two JSON values differ: 'path: one there, another now', at most five, and how many more. */
export function differences(there: unknown, now: unknown): string[] {
  const found: string[] = [];
  compare('', there, now, found);
  return found.length > 5 ? [...found.slice(0, 5), `and ${found.length - 5} more`] : found;
}

function compare(path: string, there: unknown, now: unknown, found: string[]): void {
  if (isObject(there) && isObject(now)) {
    for (const key of new Set([...Object.keys(there), ...Object.keys(now)])) {
      const of = (value: Readonly<Record<string, unknown>>) => (Object.hasOwn(value, key) ? value[key] : undefined);
      compare(path === '' ? key : `${path}.${key}`, of(there), of(now), found);
    }
  } else if (JSON.stringify(there) !== JSON.stringify(now))
    found.push(`${path}: ${short(there)} there, ${short(now)} now`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function short(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
