import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { tarFiles } from './swiftshader.mjs';

test('reads the files of an archive by system tar, sizes around a block', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'slimsam-tar-'));
  try {
    const sizes = [0, 1, 511, 512, 513];
    for (const size of sizes) writeFileSync(path.join(folder, `f${size}`), Buffer.alloc(size, size % 251));
    const tar = execFileSync('tar', ['cf', '-', '--format=ustar', '-C', folder, '.'], { maxBuffer: 1 << 24 });
    const files = [...tarFiles(tar)].map(({ name, bytes }) => [path.basename(name), Buffer.from(bytes)]);
    expect(files.sort()).toEqual(sizes.map((size) => [`f${size}`, Buffer.alloc(size, size % 251)]).sort());
  } finally {
    rmSync(folder, { recursive: true });
  }
});
