import { listIssues } from '@slimsam/weights';
import { en } from 'zod/locales';
import type { ZodMiniType } from 'zod/mini';

const { localeError } = en();

/**
 * A value from outside, checked by a schema. Schemas here are zod/mini's, which bundles for browsers carry a quarter of; its messages are
 * chosen at each call, because zod's global configuration belongs to the program.
 *
 * @param options `expected`, the error's beginning such as "loadSam: expected a config in a.json", and `cure`, its end
 * @throws when the value does not fit, naming each field
 */
export function parseBy<T>(
  schema: ZodMiniType<T>,
  value: unknown,
  { expected, cure }: { readonly expected: string; readonly cure?: string },
): T {
  const parsed = schema.safeParse(value, { error: localeError });
  if (parsed.success) return parsed.data;
  throw new Error(`${expected}, got ${listIssues(parsed.error.issues)}${cure ? `; ${cure}` : ''}`);
}
