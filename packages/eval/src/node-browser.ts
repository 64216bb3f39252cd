/** `node.ts` of bundles for browsers: masks, COCO from objects and measures work there, and what reads or writes files says why it does not. */
function missing(): never {
  throw new Error('@slimsam/eval: expected Node to read and write files, got a browser; give objects instead');
}

export const createHash: () => never = missing;
export const createReadStream: () => never = missing;
export const access: () => never = missing;
export const appendFile: () => never = missing;
export const open: () => never = missing;
export const readdir: () => never = missing;
export const readFile: () => never = missing;
export const truncate: () => never = missing;
export const createGunzip: () => never = missing;
export const extract: () => never = missing;
export const path: { readonly join: () => never } = { join: missing };
