import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import path from 'node:path';
import { root } from './paths.mjs';

/** Signals that reach the command through this process. @type {readonly NodeJS.Signals[]} */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** One Ctrl-C may arrive twice: from the terminal and from npm. Milliseconds. */
const repeatWindow = 500;

/**
 * The environment with node_modules/.bin first in PATH.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
function withBinaries(env) {
  const key = Object.keys(env).find((name) => name.toUpperCase() === 'PATH') ?? 'PATH';
  return { ...env, [key]: [path.join(root, 'node_modules', '.bin'), env[key]].filter(Boolean).join(path.delimiter) };
}

/**
 * Runs a command in the foreground and ends this process as the command ended: same exit code, same signal.
 *
 * Signals are forwarded and the command is given the time to finish. On a terminal Ctrl-C reaches the command by itself,
 * so there SIGINT is not sent a second time.
 *
 * @param {readonly string[]} command the program and its arguments
 * @param {NodeJS.ProcessEnv} env
 * @throws {Error} when the program cannot be started
 */
export async function runCommand(command, env) {
  const [first = '', ...parameters] = command;
  const program = first === 'node' ? process.execPath : first;
  const child = spawn(program, parameters, {
    stdio: 'inherit',
    env: withBinaries(env),
    shell: process.platform === 'win32' && first !== 'node', // node_modules/.bin holds .cmd files there
  });
  let last = Number.NEGATIVE_INFINITY;
  const forward = (/** @type {NodeJS.Signals} */ signal) => {
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    if (performance.now() - last < repeatWindow) return;
    last = performance.now();
    child.kill(signal);
  };
  for (const signal of signals) process.on(signal, forward);
  try {
    await new Promise((resolve, reject) => {
      child.once('error', (error) =>
        reject(new Error(`setup: expected a command that can be started, got '${program}': ${error.message}`)),
      );
      child.once('exit', resolve);
    });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
  if (child.signalCode) {
    process.exitCode = 128 + constants.signals[child.signalCode];
    process.kill(process.pid, child.signalCode);
  } else process.exitCode = child.exitCode ?? 1;
}
