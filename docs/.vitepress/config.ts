import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type MarkdownRenderer } from 'vitepress';

const root = fileURLToPath(new URL('../..', import.meta.url));

const guides = {
  'How SlimSAM works': 'how-it-works',
  'Compress your own SAM': 'compress-your-sam',
  'The page': 'page',
  'Many machines': 'many-machines',
  'Reproduction at full scale': 'reproduction',
  'Evaluation protocols': 'protocols',
  'Questions and errors': 'questions',
  Examples: 'examples',
};
const insides = {
  Architecture: 'architecture',
  'Write a kernel': 'write-a-kernel',
  'Write a criterion': 'write-a-criterion',
  'Write an architecture': 'write-an-architecture',
  Contributing: 'contributing',
};
const packages = ['slimsam', 'weights', 'tensor-webgpu', 'vit', 'prune', 'distill', 'eval', 'scenes', 'queue'];
const items = (links: Readonly<Record<string, string>>) =>
  Object.entries(links).map(([text, link]) => ({ text, link: `/${link}` }));

/** Where a file of Markdown stands in the pages: those of docs/ at the top, a README under its folder's name. */
const pageOf = (file: string): string =>
  file
    .replace(/^docs\//, '')
    .replace(/\/README\.md$/, '.md')
    .toLowerCase();

/** Links of the files, as they are in the repository, lead to pages; those to files that are no page, such as sources, become text. */
function linkPages(md: MarkdownRenderer): void {
  md.core.ruler.push('pages', ({ tokens, env }) => {
    for (const { children } of tokens) {
      let plain = false;
      for (const token of children ?? []) {
        if (token.type === 'link_open') {
          const [target = '', anchor] = (token.attrGet('href') ?? '').split('#');
          const ours = target !== '' && !/^[a-z]+:/.test(target);
          const file = path.posix.join(path.posix.dirname(path.relative(root, env.realPath ?? env.path)), target);
          plain = ours && !file.endsWith('.md');
          if (ours && !plain) token.attrSet('href', `/${pageOf(file)}${anchor ? `#${anchor}` : ''}`);
        }
        if (plain && /^link_/.test(token.type))
          Object.assign(token, { type: 'text', tag: '', content: '', nesting: 0 });
      }
    }
  });
}

/** Static pages with a search in the browser: `npm run docs` writes docs/.vitepress/dist, for the top of a server or for DOCS_BASE. */
export default defineConfig({
  title: 'SlimSAM for TypeScript',
  description: 'Makes a Segment Anything model small, in TypeScript, on WebGPU.',
  base: process.env.DOCS_BASE ?? '/',
  srcDir: '..',
  srcExclude: ['.github/**', '**/node_modules/**', '.cache/**', 'out/**'],
  rewrites: pageOf,
  cleanUrls: false,
  markdown: { config: linkPages },
  themeConfig: {
    search: { provider: 'local' },
    sidebar: [
      { text: 'Guides', items: items(guides) },
      { text: 'Insides', items: items(insides) },
      { text: 'Packages', items: packages.map((name) => ({ text: name, link: `/packages/${name}` })) },
      { text: 'Reference', items: [{ text: 'API', link: '/api/index.html', target: '_self' }] },
    ],
  },
});
