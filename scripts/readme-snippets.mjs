import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './setup/paths.mjs';

/**
 * A program of a README: a ts snippet, with those that go on from it (below `<!-- goes on -->`).
 *
 * @typedef {{ readme: string; name: string; text: string; installs: readonly string[] }} Snippet name, such as 'vit-2'; installs, the
 *   packages that the README's install lines and the snippet's own comments name
 */

const pattern = /(<!-- goes on -->\s*)?```ts\n([\s\S]*?)```/g;

/** Folders with a README, from the repository's root. @returns {string[]} */
export function readmeFolders() {
  return ['.', ...readdirSync(path.join(root, 'packages')).map((name) => `packages/${name}`)];
}

/** The programs of the READMEs, in their order. @returns {Snippet[]} */
export function readmeSnippets() {
  return readmeFolders().flatMap((folder) => {
    const markdown = readFileSync(path.join(root, folder, 'README.md'), 'utf8');
    const readme = folder === '.' ? 'root' : path.basename(folder);
    /** @type {string[]} */
    const programs = [];
    for (const [, goesOn, text = ''] of markdown.matchAll(pattern)) {
      if (goesOn) programs[programs.length - 1] += text;
      else programs.push(text);
    }
    const installs = installed(markdown);
    return programs.map((text, i) => ({ readme, name: `${readme}-${i + 1}`, text, installs }));
  });
}

/** Packages behind `npm install`. @param {string} text @returns {string[]} */
function installed(text) {
  const lines = text.matchAll(/npm install ([^#`\n,]*)/g);
  return [...new Set([...lines].flatMap(([, names = '']) => names.trim().split(/\s+/).filter(Boolean)))];
}
