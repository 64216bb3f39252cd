import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A page of Markdown. */
export interface Page {
  /** From the root. */
  readonly file: string;
  readonly text: string;
}

function inFolder(folder: string, pattern: RegExp): string[] {
  const names = readdirSync(path.join(root, folder)).filter((name) => pattern.test(name));
  return names.sort().map((name) => `${folder}/${name}`);
}

/** The documentation: pages of docs/, and READMEs. */
export const pages: readonly Page[] = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CODE_OF_CONDUCT.md'],
  ...inFolder('docs', /\.md$/),
  ...['packages', 'apps'].flatMap((folder) => inFolder(folder, /$/)).map((folder) => `${folder}/README.md`),
  'examples/README.md',
]
  .filter((file) => existsSync(path.join(root, file)))
  .map((file) => ({ file, text: readFileSync(path.join(root, file), 'utf8') }));

/** The fenced blocks of a language. */
export function blocks({ text }: Page, language: string): string[] {
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, name, body]) =>
    name === language ? [body!] : [],
  );
}

/** Commands of `sh` blocks, those broken by a backslash joined, without their comments. */
export function commands(page: Page): string[] {
  return blocks(page, 'sh').flatMap((block) =>
    block
      .replaceAll(/\\\n\s*/g, '')
      .split('\n')
      .map((line) => line.replace(/\s+#.*$/, '').trim())
      .filter((line) => line !== '' && !line.startsWith('#')),
  );
}
