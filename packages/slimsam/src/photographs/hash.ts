/** FNV-1a of 32 bits over bytes, from an earlier hash on. */
export function hashBytes(bytes: Uint8Array, from = 0x811c9dc5): number {
  let hash = from;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

/** FNV-1a over a text's UTF-8, then spread over all 32 bits (the finaliser of MurmurHash3). */
export function hashText(text: string): number {
  let hash = hashBytes(new TextEncoder().encode(text));
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
