import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { checkNode } from './dependencies.mjs';
import { root } from './paths.mjs';

const setup = fileURLToPath(new URL('../setup.mjs', import.meta.url));

/** @param {string[]} parameters @param {Record<string, string>} env */
function run(parameters, env = {}) {
  return spawnSync(process.execPath, [setup, ...parameters], { encoding: 'utf8', env: { ...process.env, ...env } });
}

test('Node older than 20.19 is refused', () => {
  expect(() => checkNode('20.18.3')).toThrow('setup: expected Node 20.19 or newer, got 20.18.3; install');
  expect(() => checkNode('18.20.0')).toThrow();
  for (const version of ['20.19.0', '22.0.0', '26.1.0']) expect(() => checkNode(version)).not.toThrow();
});

describe('setup.mjs', () => {
  test('names the adapter, runs the command with local programs in PATH, ends with its exit code', () => {
    const { status, stdout, stderr } = run(['--', 'sh', '-c', 'echo "$PATH"; exit 7']);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^setup: WebGPU adapter: ./);
    expect(stdout.startsWith(`${root}node_modules/.bin:`)).toBe(true);
    expect(status).toBe(7);
  });

  test('a command that a signal ends', () => {
    expect(run(['--', 'sh', '-c', 'kill -KILL $$']).signal).toBe('SIGKILL');
  });

  test.each([
    [['--'], {}, "expected a command after '--'"],
    [['--frce'], {}, "got '--frce'"],
    [['--', 'no-such-program'], {}, "got 'no-such-program'"],
    [[], { SLIMSAM_ADAPTER: 'gpu' }, "SLIMSAM_ADAPTER: expected any, lavapipe, swiftshader, got 'gpu'"],
  ])('%j %j: one error, exit code 1', (parameters, env, message) => {
    const { status, stderr } = run(parameters, env);
    expect(stderr).toContain(message);
    expect(status).toBe(1);
  });

  test.each(['SIGINT', 'SIGTERM'])('%s reaches the command once, and it may finish', async (signal) => {
    const script =
      `process.on('${signal}', () => { console.log('got'); setTimeout(() => process.exit(3), 300); });` +
      "setInterval(() => {}, 1000); console.log('ready')";
    const child = spawn(process.execPath, [setup, '--', process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.on('data', (bytes) => {
      output += bytes;
      if (output === 'ready\n') for (const _ of [1, 2]) child.kill(/** @type {NodeJS.Signals} */ (signal));
    });
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(3);
    expect(output).toBe('ready\ngot\n');
  });
});
