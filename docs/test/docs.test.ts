import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { programOf as evalProgramOf } from '../../packages/eval/src/cli/program.ts';
import { programOf as slimsamProgramOf } from '../../packages/slimsam/src/cli/program.ts';
import { blocks, commands, type Page, pages, root } from './pages.ts';

/** GitHub's and VitePress's name of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[`*_]|[^\p{L}\p{N}\s-]/gu, '')
    .trim()
    .replaceAll(' ', '-');

const anchors = ({ text }: Page): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));

test.each(pages)('links of $file lead to files and headings that are there', (page) => {
  const prose = page.text.replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '');
  const problems = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^(https?|mailto):/.test(link!)) return URL.canParse(link!) ? [] : [`${link}: no address`];
    const [file = '', anchor] = link!.split('#');
    const target = file === '' ? page.file : path.normalize(path.join(path.dirname(page.file), file));
    if (!existsSync(path.join(root, target))) return [`${link}: no such file`];
    if (anchor === undefined) return [];
    const other = { file: target, text: readFileSync(path.join(root, target), 'utf8') };
    return anchors(other).includes(anchor) ? [] : [`${link}: no such heading`];
  });
  expect(problems).toEqual([]);
});

const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>;
};

const slimsamProgram = slimsamProgramOf(new AbortController().signal);
const evalProgram = evalProgramOf(() => {});

/** What is wrong with a command: a script, a file, a subcommand or an option that is not there. */
function problemsOf(command: string): string[] {
  const words = command.replaceAll(/"[^"]*"|'[^']*'/g, 'quoted').split(/\s+/);
  const start = words.findIndex((word) => !/^[A-Z_]+=/.test(word));
  const [program, ...rest] = words.slice(start);
  if (program === 'npm' && rest[0] === 'run') {
    if (!scripts[rest[1]!]) return [`no script '${rest[1]}'`];
    const given = rest.slice(rest.indexOf('--') + 1);
    if (rest[1] === 'slimsam') return cliProblems(slimsamProgram, given);
    if (rest[1] === 'slimsam-eval') return cliProblems(evalProgram, given);
    return [];
  }
  if (program === 'npx' && rest[0] === 'slimsam') {
    return cliProblems(slimsamProgram, rest.slice(1));
  }
  if (program === 'npx' && rest[0] === 'slimsam-eval') return cliProblems(evalProgram, rest.slice(1));
  const files = rest.filter(
    (word) => /^(packages|examples|apps|docs|scripts|bench)\/[\w./-]+$/.test(word) && !/NAME/.test(word),
  );
  return files.filter((file) => !existsSync(path.join(root, file))).map((file) => `no file '${file}'`);
}

function cliProblems(program: Command, [name, ...words]: readonly string[]): string[] {
  const command = program.commands.find((command) => command.name() === name);
  if (!command) return name?.startsWith('-') ? [] : [`no subcommand '${name}'`];
  const known = new Set(command.options.flatMap(({ long, short }) => [long, short]));
  return words
    .filter((word) => word.startsWith('--') && word !== '--help')
    .map((word) => word.split('=')[0]!)
    .filter((option) => !known.has(option))
    .map((option) => `${name}: no option '${option}'`);
}

test.each(pages.filter((page) => commands(page).length > 0))('commands of $file exist, with their options', (page) => {
  const inTables = [...page.text.matchAll(/`(npm run [^`]+|npx slimsam[^`]+)`/g)].map(([, command]) => command!);
  const wrong = [...commands(page), ...inTables].flatMap((command) =>
    problemsOf(command).map((problem) => `${command}: ${problem}`),
  );
  expect(wrong).toEqual([]);
});

test('snippets of docs/ are correct TypeScript', () => {
  const files = new Map(
    pages
      .filter(({ file }) => file.startsWith('docs/'))
      .flatMap((page) =>
        blocks(page, 'ts').map(
          (text, i) => [path.join(root, page.file.replace(/\.md$/, `-${i + 1}.ts`)), text] as const,
        ),
      ),
  );
  expect(files.size).toBeGreaterThan(3);
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.base.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(
    {
      ...config,
      files: [],
      compilerOptions: { ...config.compilerOptions, composite: false, noEmit: true, isolatedDeclarations: false },
    },
    ts.sys,
    root,
  );
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) => {
    const text = files.get(file);
    return text === undefined ? getSourceFile(file, ...rest) : ts.createSourceFile(file, text, rest[0], true);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  const problems = [...files.keys()].flatMap((file) => {
    const source = program.getSourceFile(file);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText, start = 0 }) =>
        `${path.relative(root, file)}:${source!.getLineAndCharacterOfPosition(start).line + 1} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  });
  expect(problems).toEqual([]);
});
