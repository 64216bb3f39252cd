import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { withPage } from '../../scripts/runtimes/page.mjs';
import { pages, root } from './pages.ts';

const dist = path.join(root, 'docs/.vitepress/dist');

beforeAll(() => {
  const { status, stdout, stderr } = spawnSync('npm', ['run', 'docs:build'], {
    ...{ cwd: root, encoding: 'utf8', shell: process.platform === 'win32' },
    env: { ...process.env, NODE_ENV: 'production' }, // vitest's own would build another Vue
  });
  if (status !== 0) throw new Error(`${stdout}${stderr}`);
});

const built = () =>
  readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!404)\.html$/.test(file));

test('every link, picture and script of every built page is there, the reference included', () => {
  const texts = new Map(built().map((file) => [file, readFileSync(path.join(dist, file), 'utf8')]));
  const ids = (file: string) => new Set([...texts.get(file)!.matchAll(/\bid="([^"]*)"/g)].map(([, id]) => id!));
  const known = new Map<string, Set<string>>();
  const problems: string[] = [];
  let links = 0;
  for (const [file, text] of texts)
    for (const [, found] of text.matchAll(/\b(?:href|src)="([^"]*)"/g)) {
      const link = found!.replaceAll('&amp;', '&');
      if (/^[a-z]+:/.test(link)) continue;
      links++;
      const [address = '', anchor = ''] = link.split('#');
      const named = decodeURI(address.split('?')[0]!);
      const base = named.startsWith('/') ? '' : path.dirname(file);
      const target = path.join(base, named === '' ? path.basename(file) : named).replace(/^\/|\/$/g, '');
      const real = [target || 'index.html', path.join(target, 'index.html'), `${target}.html`].find(
        (name) => existsSync(path.join(dist, name)) && /\.\w+$/.test(name),
      );
      if (!real) problems.push(`${file}: ${link}`);
      else if (anchor && texts.has(real)) {
        if (!known.has(real)) known.set(real, ids(real));
        if (!known.get(real)!.has(decodeURIComponent(anchor))) problems.push(`${file}: ${link}: no such heading`);
      }
    }
  expect(problems).toEqual([]);
  expect(links).toBeGreaterThan(1000);
});

test('every file of the documentation is a page', () => {
  const names = pages.map(({ file }) => file.replace(/^docs\//, '').replace(/\/README\.md$/, '.md'));
  const missing = names.filter((name) => !built().includes(name.replace(/\.md$/, '.html').toLowerCase()));
  expect(missing).toEqual([]);
});

test('the search finds a word of a guide, of a package and leads there', async () => {
  await withPage([dist], async (page) => {
    const search = async (words: string, link: RegExp) => {
      await page.locator('.DocSearch-Button').first().click();
      await page.locator('#localsearch-input').fill(words);
      await page.locator('.results a', { hasText: link }).first().click({ timeout: 60_000 });
    };
    await search('HEIC', /Questions and errors/);
    await page.waitForURL(/questions\.html/);
    await search('onnxruntime', /ONNX/);
    await page.waitForURL(/(packages|examples|apps)/);
  });
});
