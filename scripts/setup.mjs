/**
 * All the set-up from a bare clone, then a command.
 *
 *     node scripts/setup.mjs [-- command arguments…]
 *
 * It installs the npm dependencies when they are missing or out of date, makes sure of a WebGPU adapter, and runs the
 * command with node_modules/.bin in PATH and the environment that the adapter needs. SLIMSAM_ADAPTER=lavapipe,
 * swiftshader or any (the default) chooses the kind of adapter. Plain Node, no dependencies.
 */
import { ensureAdapter } from './setup/adapter.mjs';
import { checkNode, ensureDependencies } from './setup/dependencies.mjs';
import { say } from './setup/log.mjs';
import { runCommand } from './setup/run-command.mjs';

const { argv } = process;
if (process.env.NX_TASK_TARGET_PROJECT) delete process.env.FORCE_COLOR; // Nx sets it, also where nobody looks at colours
const separator = argv.indexOf('--');
const command = separator === -1 ? [] : argv.slice(separator + 1);
/** Commands that compute elsewhere, or not at all. */
const adapterless =
  / (--help|-h|--backend[ =](cpu|wasm|tfjs-node|tfjs-node-gpu)|packages\/eval\/src\/cli\/main[.]ts|test\/fuzz\/run[.]ts|page:serve|docs:build)( |$)/;
const unknown = argv.slice(2, separator === -1 ? undefined : separator);

try {
  if (unknown.length > 0) throw new Error(`setup: expected '-- command arguments…', got '${unknown.join(' ')}'`);
  if (separator !== -1 && command.length === 0) throw new Error("setup: expected a command after '--', got none");
  checkNode(process.versions.node);
  ensureDependencies();
  const { name, env } = adapterless.test(command.join(' '))
    ? { name: 'none asked for', env: process.env }
    : ensureAdapter();
  say(`WebGPU adapter: ${name}`);
  if (command.length > 0) await runCommand(command, env);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
