import { checkFields } from '../check-fields.ts';

/**
 * Text from a file made safe to print: control characters, which could move a terminal's cursor or break a line, and letters that
 * nobody can see (a byte order mark, spaces of no width) become \xNN or \uNNNN, and what is longer than `longest` letters (2000 unless
 * given) is cut.
 */
export function printable(text: string, options: { readonly longest?: number } = {}): string {
  checkFields('printable', { text, options }, { text: 'string', options: 'object' });
  const { longest = 2000 } = options;
  const cut = text.length > longest ? `${text.slice(0, longest)}…` : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return cut.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (letter) => {
    const code = letter.codePointAt(0)!;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

/** What a schema found wrong (zod's issues, or another's of that shape). */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** The issues of a schema in one line, three of them at most: "'heads': expected number, received none; …". */
export function listIssues(issues: readonly Issue[]): string {
  checkFields('listIssues', { issues }, { issues: 'list' });
  const words = issues.slice(0, 3).map(({ path, message }) => {
    const text = message.replace(/^Invalid input: /, '').replace('received undefined', 'received none');
    return path.length > 0 ? `'${path.map(String).join('.')}': ${text}` : text;
  });
  const more = issues.length > 3 ? `; and ${issues.length - 3} more` : '';
  return printable(words.join('; ') + more);
}
