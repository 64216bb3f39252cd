/** A GPU of this machine, and how to reach it. */
export interface MissingDriver {
  readonly device: string;
  readonly cure: string;
}

const cures: readonly (readonly [file: string, MissingDriver])[] = [
  [
    '/dev/nvidia0',
    {
      device: 'an NVIDIA GPU (/dev/nvidia0)',
      cure: "the GPU's Vulkan driver is missing: install the package of the driver's own version (libnvidia-gl), in containers with NVIDIA_DRIVER_CAPABILITIES=all",
    },
  ],
  [
    '/dev/dri/renderD128',
    {
      device: 'a GPU (/dev/dri/renderD128)',
      cure: "the GPU's Vulkan driver is missing or may not be used: install mesa-vulkan-drivers, and let the user read the device (group render)",
    },
  ],
];

interface Files {
  existsSync(path: string): boolean;
}

/** The GPU that a Linux machine has, in Node; nothing elsewhere. */
export function missingDriver(files: Files | undefined = nodeFiles()): MissingDriver | undefined {
  return cures.find(([file]) => files?.existsSync(file))?.[1];
}

/** Without an import, which bundles for browsers would have to leave out. */
function nodeFiles(): Files | undefined {
  if (typeof process === 'undefined' || process.platform !== 'linux') return undefined;
  return process.getBuiltinModule?.('node:fs');
}
