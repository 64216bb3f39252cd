import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { peerFolder } from '../../packages/tensor-webgpu/bench/peers/install.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = 'bench-gpu';

/** Pure JavaScript, so that each is one file. */
const bundledPeers = ['@tensorflow/tfjs-backend-webgpu', '@jax-js/jax'];
/** onnxruntime-node has a library of its own: what of two packages goes with it. */
const copiedPeers: Readonly<Record<string, readonly string[]>> = {
  'onnxruntime-node': ['package.json', 'dist', `bin/napi-v6/linux/${process.arch}`],
  'onnxruntime-common': ['package.json', 'dist/cjs'],
};

/** What the other machine may lack. */
const libraries = ['libvulkan.so.1', 'libstdc++.so.6', 'libgcc_s.so.1'];

/**
 * Makes an archive for a Linux machine of this processor's kind that has a GPU and its driver and nothing else: Node, Dawn, the bench in one file, the
 * peers that are installed, the libraries that such a machine may lack, and a script that starts it all. Its compression follows the file's name.
 *
 * @throws on other systems than Linux, whose Node would not run there, and when tar or the bundler fail
 */
export async function pack(file: string, commit: string): Promise<void> {
  if (process.platform !== 'linux')
    throw new Error(`bench:gpu: expected --pack on Linux, got ${process.platform}; its Node goes into the archive`);
  const work = mkdtempSync(path.join(tmpdir(), 'bench-gpu-'));
  try {
    const to = path.join(work, folder);
    mkdirSync(to);
    copyFileSync(process.execPath, path.join(to, 'node'));
    chmodSync(path.join(to, 'node'), 0o755);
    copyDawn(to);
    await bundle(path.join(root, 'bench/gpu.ts'), path.join(to, 'bench-gpu.mjs'));
    const peers = await packPeers(to);
    const missing = libraries.filter((name) => !copyLibrary(name, to));
    writeFileSync(path.join(to, 'nvidia_icd.json'), JSON.stringify(nvidiaDriver));
    writeFileSync(path.join(to, 'run'), runScript(commit), { mode: 0o755 });
    writeFileSync(path.join(to, 'README'), readme({ commit, peers }));
    const target = path.resolve(file);
    const part = path.join(path.dirname(target), `.part-${path.basename(target)}`); // tar goes by the end of the name
    const made = spawnSync('tar', ['--auto-compress', '-cf', part, '-C', work, folder], {
      stdio: ['ignore', 'inherit', 'pipe'],
      encoding: 'utf8',
    });
    if (made.error || made.status !== 0)
      throw new Error(`bench:gpu: expected tar to make '${file}', got ${made.error?.message ?? made.stderr.trim()}`);
    renameSync(part, target);
    const MiB = (statSync(target).size / 2 ** 20).toFixed(0);
    console.log(
      `${file}: ${MiB} MiB, with ${peers.length > 0 ? peers.join(', ') : 'no peers (--peers installs them)'}`,
    );
    for (const name of missing) console.log(`without ${name}, which is not here: the other machine must have it`);
    console.log(`there: tar xf ${path.basename(file)} && ./${folder}/run --json gpu.json`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The package `webgpu` with the binary of this system. */
function copyDawn(to: string): void {
  const from = path.join(root, 'node_modules/webgpu');
  const binary = path.join('dist', `linux-${process.arch}`);
  mkdirSync(path.join(to, 'node_modules/webgpu', binary), { recursive: true });
  for (const file of ['package.json', 'index.js', path.join(binary, 'dawn.node')])
    copyFileSync(path.join(from, file), path.join(to, 'node_modules/webgpu', file));
}

/** One file of an entry point and all that it imports, but for Dawn and what the bench never calls. */
async function bundle(from: string, to: string): Promise<void> {
  await build({
    ...{ entryPoints: [from], outfile: to, bundle: true, format: 'esm', platform: 'node', logLevel: 'error' },
    ...{ conditions: ['@slimsam/source'], mainFields: ['module', 'main'], ignoreAnnotations: true },
    external: ['webgpu', 'sharp', '@resvg/resvg-js', 'onnxruntime-node', './gpu/pack.ts'],
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    },
  });
}

/** The peers that are installed, as packages beside the bench. */
async function packPeers(to: string): Promise<string[]> {
  const packed: string[] = [];
  for (const name of bundledPeers) {
    const from = path.join(peerFolder(name), 'package.json');
    if (!existsSync(from)) continue;
    const { version, main, module } = JSON.parse(readFileSync(from, 'utf8')) as Record<string, string>;
    const folder = path.join(to, 'node_modules', name);
    await bundle(path.join(peerFolder(name), module ?? main ?? 'index.js'), path.join(folder, 'index.mjs'));
    const manifest = { name, version, type: 'module', main: 'index.mjs' };
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest));
    packed.push(`${name} ${version}`);
  }
  for (const [name, parts] of Object.entries(copiedPeers)) {
    if (!existsSync(peerFolder(name))) continue;
    for (const part of parts)
      cpSync(path.join(peerFolder(name), part), path.join(to, 'node_modules', name, part), { recursive: true });
    const { version } = JSON.parse(readFileSync(path.join(peerFolder(name), 'package.json'), 'utf8')) as {
      version: string;
    };
    if (name === 'onnxruntime-node') packed.push(`${name} ${version}`);
  }
  return packed;
}

/** Copies a library of this machine; false where there is none. */
function copyLibrary(name: string, to: string): boolean {
  const found = libraryFolders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  if (!found) return false;
  mkdirSync(path.join(to, 'lib', name), { recursive: true }); // a folder each, which the path takes only where it is needed
  copyFileSync(found, path.join(to, 'lib', name, name));
  return true;
}

const triple = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
const libraryFolders = ['/usr/lib', '/lib'].flatMap((folder) => [`${folder}/${triple}`, `${folder}64`, folder]);

/**
 * Starts the bench by nothing but the shell: where the machine lacks a library it takes the packed one, and where NVIDIA's driver is there
 * without the file that tells the Vulkan loader of it, as in many containers, it takes one of its own.
 */
const runScript = (commit: string): string => `#!/bin/sh
# ./run [--json FILE] [--filter encode] [--small]; README says more
here=$(cd "\${0%/*}" && pwd)
folders="${libraryFolders.join(' ')}"
own=
for name in ${libraries.join(' ')}; do
  found=
  for folder in $folders; do if [ -e "$folder/$name" ]; then found=1; fi; done
  if [ -z "$found" ] && [ -e "$here/lib/$name/$name" ]; then own="$own:$here/lib/$name"; fi
done
nvidia=
for folder in $folders /usr/local/nvidia/lib64 /usr/local/nvidia/lib; do
  if [ -e "$folder/libGLX_nvidia.so.0" ]; then nvidia=$folder; fi
done
for file in /etc/vulkan/icd.d/nvidia*.json /usr/share/vulkan/icd.d/nvidia*.json; do if [ -e "$file" ]; then known=$file; fi; done
if [ -n "$nvidia" ] && [ -z "$known$VK_DRIVER_FILES$VK_ICD_FILENAMES" ]; then
  VK_DRIVER_FILES=$here/nvidia_icd.json VK_ICD_FILENAMES=$here/nvidia_icd.json
  export VK_DRIVER_FILES VK_ICD_FILENAMES
  own="$own:$nvidia"
fi
if [ -n "$own" ]; then LD_LIBRARY_PATH=\${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}\${own#:}; export LD_LIBRARY_PATH; fi
SLIMSAM_COMMIT=${commit} exec "$here/node" "$here/bench-gpu.mjs" "$@"
`;

/** For Vulkan's loader; the library comes with NVIDIA's driver. */
const nvidiaDriver = {
  file_format_version: '1.0.0',
  ICD: { library_path: 'libGLX_nvidia.so.0', api_version: '1.3.0' },
};

const readme = ({
  commit,
  peers,
}: {
  commit: string;
  peers: readonly string[];
}): string => `bench:gpu of SlimSAM for TypeScript, commit ${commit}

    ./run --json gpu.json

takes about three minutes on a GPU and prints a table; --filter NAME runs the cases of that name, --small tiny ones, --full all on a CPU too.
Nothing is installed or written but the JSON. With it come Node ${process.version}, Dawn${peers.map((peer) => `, ${peer}`).join('')}.

The machine needs Linux (${process.arch}, its C library not older than glibc 2.28's) and its GPU's driver with Vulkan: for NVIDIA libGLX_nvidia.so.0
(package libnvidia-gl; containers: NVIDIA_DRIVER_CAPABILITIES=all), for AMD and Intel Mesa (mesa-vulkan-drivers). Where these are not
there, ./run takes its own: Vulkan's loader (libvulkan.so.1), libstdc++, libgcc, and the file by which the loader finds NVIDIA's driver.
The first line names the adapter: "llvmpipe" is a CPU, so the driver was not found; VK_LOADER_DEBUG=error ./run says why.
`;
