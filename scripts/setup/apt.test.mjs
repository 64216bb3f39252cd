import { expect, test } from 'vitest';
import { aptArguments, backportsSources, mesaCandidate, mesaPlan, parseLines, parseStanzas } from './apt.mjs';

const bookworm =
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n';
const stanzas = `# comment
Types: deb deb-src
# http://old.example/debian
URIs: http://mirror.example/a/b/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/archive.gpg

Types: deb
uris: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://other.example/node
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
`;

test('deb822 sources: own mirror, keys in files and inline, foreign and disabled entries left out', () => {
  expect(mesaPlan({ osRelease: bookworm, sources: parseStanzas(stanzas) })).toEqual({
    release: 'bookworm-backports',
    list: `Types: deb
URIs: http://mirror.example/a/b/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main
Signed-By: /keys/archive.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
`,
  });
});

test('one-line sources: options, comments, a snapshot without a key, an aliased suite', () => {
  const text = `deb [arch=amd64,arm64 signed-by=/keys/archive.gpg] http://mirror.example/debian bookworm main non-free # why
deb-src http://mirror.example/debian bookworm main
#deb http://off.example/debian bookworm main
deb http://mirror.example/snapshot/20250520T000000Z/ oldstable main
deb cdrom:[Debian 12]/ bookworm main
deb https://other.example/apt cloud main`;
  expect(backportsSources(parseLines(text), 'bookworm')).toBe(`Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-backports
Components: main
Architectures: amd64 arm64
Signed-By: /keys/archive.gpg

Types: deb
URIs: http://mirror.example/snapshot/20250520T000000Z/
Suites: oldstable bookworm-backports
Components: main
`);
});

test('backports that are there already are not named twice', () => {
  const list = backportsSources(parseLines('deb http://mirror.example/debian bookworm main'), 'bookworm');
  expect(backportsSources(parseStanzas(list ?? ''), 'bookworm')).toBe(list);
});

test('no entry for the main archive: the machine’s own lists decide', () => {
  expect(mesaPlan({ osRelease: bookworm, sources: parseLines('deb http://other.example/apt cloud main') })).toEqual({});
});

test.each([
  ['Debian 13', 'ID=debian\nVERSION_ID="13"\n'],
  ['Ubuntu', 'ID=ubuntu\nVERSION_ID="24.10"\n'],
])('%s has Mesa of its own', (_, osRelease) => {
  expect(mesaPlan({ osRelease, sources: parseStanzas(stanzas) })).toEqual({});
});

test('apt-get reads the private list only, and the machine’s without one', () => {
  const { options, update, install } = aptArguments({
    list: '/t/mesa.sources',
    lists: '/t/lists',
    release: 'r-backports',
  });
  expect(update).toEqual(
    expect.arrayContaining([
      'Dir::Etc::SourceList=/t/mesa.sources',
      'Dir::Etc::SourceParts=-',
      'Dir::State::Lists=/t/lists',
    ]),
  );
  expect(update.at(-1)).toBe('update');
  expect(options.slice(-2)).toEqual(['-t', 'r-backports']);
  expect(install.join(' ')).toMatch(
    /install -y --no-install-recommends -t r-backports mesa-vulkan-drivers libvulkan1$/,
  );
  expect(aptArguments({}).install.join(' ')).not.toMatch(/Dir::|-t /);
});

test.each([
  ['25.0.7-2~bpo12+1', true],
  ['1:26.1.0-1', true],
  ['22.3.6-1+deb12u2', false],
  ['(none)', false],
])('candidate %s: %s', (version, accepted) => {
  const policy = `mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: ${version}\n  Version table:\n`;
  expect(mesaCandidate(policy)).toEqual({ version, accepted });
});
