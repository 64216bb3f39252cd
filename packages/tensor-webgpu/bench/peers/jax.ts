import type { Jax, JaxArray, Values } from '../cases/case.ts';
import { importPeer } from './install.ts';
import { expectFits, type Runner } from './runner.ts';

interface JaxModule extends Jax {
  init(device: string): Promise<readonly string[]>;
  defaultDevice(device: string): void;
  blockUntilReady<T>(arrays: T): Promise<T>;
  vjp(
    f: (...inputs: JaxArray[]) => JaxArray,
    inputs: JaxArray[],
  ): [JaxArray, ((dy: JaxArray) => JaxArray[]) & { dispose(): void }];
}

/** jax-js on WebGPU. */
export async function jaxJs(mostBytes: number): Promise<Runner> {
  const jax = await importPeer<JaxModule>('@jax-js/jax');
  if (!(await jax.init('webgpu')).includes('webgpu')) throw new Error('it found no WebGPU adapter');
  jax.defaultDevice('webgpu');
  return {
    name: 'jax-js',
    async prepare(one, made, pass) {
      expectFits(one.largest, mostBytes);
      const array = ({ shape, data }: Values) => jax.numpy.array(data).reshape([...shape]);
      const inputs = made.inputs.map(array);
      const dy = array(made.dy);
      const f = (...arrays: JaxArray[]) => one.jax(jax, ...arrays);
      await jax.blockUntilReady([...inputs, dy]);
      let last: JaxArray[] = [];
      return {
        async run(times = 1) {
          const all: JaxArray[] = []; // it is lazy: what is not waited for is not computed
          for (let n = 0; n < times; n++) {
            for (const old of last) old.dispose();
            last = [];
            const own = inputs.map(({ ref }) => ref);
            if (pass === 'forward') last = [f(...own)];
            else {
              const [output, pullBack] = jax.vjp(f, own);
              last = [...pullBack(dy.ref)];
              pullBack.dispose();
              await jax.blockUntilReady(output); // the others compute their output too
              output.dispose();
            }
            for (const array of last) all.push(array.ref);
          }
          await jax.blockUntilReady(all);
          for (const array of all) array.dispose();
        },
        results: () => Promise.all(last.map(({ ref }) => ref.data())),
        free() {
          for (const old of [...last, ...inputs, dy]) old.dispose();
        },
      };
    },
  };
}
