import { existsSync } from 'node:fs';
import { defineConfig } from 'vitepress';

const guides = [
  ['How SlimSAM works', 'how-it-works'],
  ['Compress your own SAM', 'compress-your-sam'],
  ['The page', 'page'],
  ['Many machines', 'many-machines'],
  ['Reproduction at full scale', 'reproduction'],
  ['Evaluation protocols', 'protocols'],
  ['Questions and errors', 'questions'],
] as const;
const insides = [
  ['Architecture', 'architecture'],
  ['Write a kernel', 'write-a-kernel'],
  ['Write a criterion', 'write-a-criterion'],
  ['Write an architecture', 'write-an-architecture'],
] as const;
const items = (pages: readonly (readonly [string, string])[]) =>
  pages
    .filter(([, link]) => existsSync(new URL(`../${link}.md`, import.meta.url)))
    .map(([text, link]) => ({ text, link: `/${link}` }));

/** Static pages with a search in the browser: `npm run docs` writes docs/.vitepress/dist. */
export default defineConfig({
  title: 'SlimSAM for TypeScript',
  description: 'Makes a Segment Anything model small, in TypeScript, on WebGPU.',
  base: './',
  srcExclude: ['test/**', 'api/**'],
  cleanUrls: false,
  themeConfig: {
    search: { provider: 'local' },
    sidebar: [
      { text: 'Guides', items: items(guides) },
      { text: 'Insides', items: items(insides) },
    ],
  },
});
