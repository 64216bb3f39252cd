/**
 * Bundles tfjs-core's gradient registrations into generated/tfjs-gradients.js.
 *
 * tfjs-core's Node entry carries no gradients, and its ES modules have extensionless imports that Node refuses, so
 * neither can be imported from plain Node. The bundle registers them in the registry that all copies of tfjs-core share.
 */
import { rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const out = fileURLToPath(new URL('../generated/tfjs-gradients.js', import.meta.url));
await build({
  stdin: {
    contents: "import '@tensorflow/tfjs-core/dist/register_all_gradients.js';",
    resolveDir: fileURLToPath(new URL('..', import.meta.url)),
  },
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  minify: true,
  ignoreAnnotations: true,
  legalComments: 'eof',
  outfile: `${out}.tmp`,
  logLevel: 'warning',
});
await rename(`${out}.tmp`, out);
await writeFile(
  out.replace(/js$/, 'd.ts'),
  '/** Side effect only: registers the gradients of tfjs-core. */\nexport {};\n',
);
