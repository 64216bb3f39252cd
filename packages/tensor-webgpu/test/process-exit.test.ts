import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';

const start = `import { useWebgpu } from '@slimsam/tensor-webgpu';
import * as tf from '@tensorflow/tfjs-core';
const backend = await useWebgpu();
const x = tf.neg(tf.ones([100]));`;

/** Runs a program on the backend and waits for it to end by itself. */
function exitOf(program: string): Promise<{ code: number | null; output: string }> {
  const options = ['--import', 'tsx', '--conditions=@slimsam/source', '--input-type=module', '-e'];
  const child = spawn(process.execPath, [...options, `${start}\n${program}`], {
    cwd: new URL('..', import.meta.url),
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  child.stderr.on('data', (text) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

test.each([
  ['read, then disposed', 'console.log((await x.data())[99]); backend.dispose();', 0, '-1'],
  ['read, never disposed', 'console.log((await x.data())[99]);', 0, '-1'],
  [
    'disposed with work under way',
    'const read = x.data(); backend.dispose(); await read.catch((e) => console.log(e.message));',
    0,
    'disposed',
  ],
  [
    'disposed while it is recorded and warmed up',
    "const stop = backend.record('cpu'); void backend.warmUp(() => tf.neg(x)).catch(() => {}); backend.dispose();" +
      'await stop().catch((e) => console.log(e.message));',
    0,
    'disposed',
  ],
  [
    'a lost device, caught',
    'const read = x.data(); backend.device.destroy(); await read.catch((e) => console.log(e.message));',
    0,
    'the device was lost',
  ],
  [
    'a lost device, then another backend',
    'backend.device.destroy(); const again = await useWebgpu(); console.log((await tf.neg(tf.ones([2])).data())[1]);',
    0,
    '-1',
  ],
  ['a lost device, not caught', 'backend.device.destroy(); await x.data();', 1, 'the device was lost'],
  ['a synchronous read', 'x.dataSync();', 1, 'await tensor.data()'],
  ['a thrown error with a read under way', "void x.data(); throw new Error('thrown here');", 1, 'thrown here'],
  ['a thrown error', "await x.data(); throw new Error('thrown here');", 1, 'thrown here'],
  ['a rejected promise', "void Promise.reject(new Error('rejected here')); await x.data();", 1, 'rejected here'],
])('a process ends by itself: %s', async (_name, program, code, text) => {
  const exit = await exitOf(program);
  expect(exit).toEqual({ code, output: expect.stringContaining(text) });
});
