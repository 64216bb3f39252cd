/** Which apt commands install lavapipe: pure functions of the machine's own files. */

/** The oldest Mesa whose lavapipe Dawn accepts: major version. */
const oldestMesa = 25;

/**
 * An entry of apt's sources, as the fields of a deb822 stanza.
 *
 * @typedef {Readonly<Record<string, string>>} Source
 */

/**
 * Reads sources in the deb822 form (`*.sources`).
 *
 * @param {string} text
 * @returns {Source[]} the enabled `deb` entries
 */
export function parseStanzas(text) {
  return text
    .split(/\n(?:[ \t]*\n)+/)
    .map((stanza) => {
      /** @type {Record<string, string>} */
      const fields = {};
      let name = '';
      for (const line of stanza.split('\n')) {
        if (line.startsWith('#')) continue;
        const field = /^([A-Za-z0-9-]+):[ \t]*(.*)$/.exec(line);
        if (field) {
          name = canonicalName(field[1] ?? '');
          fields[name] = field[2]?.trim() ?? '';
        } else if (/^[ \t]/.test(line) && name) fields[name] += `\n${line.trimEnd()}`;
      }
      return fields;
    })
    .filter((fields) => words(fields.Types).includes('deb') && !/^(no|false|0)$/i.test(fields.Enabled ?? 'yes'));
}

/**
 * Reads sources in the one-line form (`sources.list`, `*.list`): `deb [signed-by=… arch=…] base suite component…`.
 *
 * @param {string} text
 * @returns {Source[]} the `deb` entries
 */
export function parseLines(text) {
  const sources = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/#.*$/, '').trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (!match) continue;
    const [, options = '', base = '', suite = '', components = ''] = match;
    /** @type {Record<string, string>} */
    const fields = { Types: 'deb', URIs: base, Suites: suite, Components: components };
    for (const option of words(options)) {
      const [key = '', value = ''] = option.split('=');
      const name = { arch: 'Architectures', lang: 'Languages' }[key] ?? canonicalName(key);
      fields[name] = value.replaceAll(',', ' ');
    }
    sources.push(fields);
  }
  return sources;
}

/**
 * A private sources file for Mesa from Debian's backports: the machine's own entries for this release with their base
 * addresses and keys, and the backports suite beside each entry of the main archive.
 *
 * @param {readonly Source[]} sources the machine's entries
 * @param {string} codename such as `bookworm`
 * @returns {string | undefined} deb822 text; nothing when the machine has no entry for the main archive
 */
export function backportsSources(sources, codename) {
  const backports = `${codename}-backports`;
  const aliases = [codename, 'stable', 'oldstable', 'oldoldstable'];
  const stanzas = [];
  let found = false;
  for (const source of sources) {
    if (!words(source.Components).includes('main')) continue;
    const suites = words(source.Suites).filter(isRelease);
    if (suites.length === 0 || words(source.URIs).every((base) => base.startsWith('cdrom:'))) continue;
    if (suites.some((suite) => aliases.includes(suite))) {
      found = true;
      if (!suites.includes(backports)) suites.push(backports);
    }
    const fields = { ...source, Types: 'deb', Suites: suites.join(' '), Components: 'main' };
    stanzas.push(
      Object.entries(fields)
        .map(([name, value]) => `${name}: ${value}`)
        .join('\n'),
    );
  }
  return found ? `${stanzas.join('\n\n')}\n` : undefined;

  /** @param {string} suite */
  function isRelease(suite) {
    return aliases.some((alias) => suite === alias || suite.startsWith(`${alias}-`) || suite.startsWith(`${alias}/`));
  }
}

/**
 * How to get Mesa on this release.
 *
 * @param {{ osRelease: string; sources: readonly Source[] }} machine the text of /etc/os-release and apt's entries
 * @returns {{ list?: string; release?: string }} a private sources file and the release to take Mesa from; empty where
 * the machine's own archive is to be asked
 */
export function mesaPlan({ osRelease, sources }) {
  const field = (/** @type {string} */ name) => new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(osRelease)?.[1] ?? '';
  if (field('ID') !== 'debian' || field('VERSION_ID') !== '12') return {};
  const codename = field('VERSION_CODENAME') || 'bookworm';
  const list = backportsSources(sources, codename);
  return list === undefined ? {} : { list, release: `${codename}-backports` };
}

/**
 * The arguments of apt-get: first to fetch the lists, then to install.
 *
 * @param {{ list?: string; lists?: string; release?: string }} paths the private sources file, a folder for its lists
 * @returns {{ options: string[]; update: string[]; install: string[] }}
 */
export function aptArguments({ list, lists, release }) {
  const options = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2'];
  if (list && lists)
    options.push(
      ...['-o', `Dir::Etc::SourceList=${list}`, '-o', 'Dir::Etc::SourceParts=-'],
      ...['-o', `Dir::State::Lists=${lists}`, '-o', 'Acquire::Check-Valid-Until=false'],
      ...['-o', 'Dir::Cache::pkgcache=', '-o', 'Dir::Cache::srcpkgcache='],
    );
  const from = release ? ['-t', release] : [];
  return {
    options: [...options, ...from],
    update: [...options, 'update'],
    install: [...options, 'install', '-y', '--no-install-recommends', ...from, 'mesa-vulkan-drivers', 'libvulkan1'],
  };
}

/**
 * Whether the version that apt would install is new enough.
 *
 * @param {string} policy what `apt-cache policy mesa-vulkan-drivers` prints
 * @returns {{ version: string; accepted: boolean }}
 */
export function mesaCandidate(policy) {
  const version = /^\s*Candidate:\s*(\S+)/m.exec(policy)?.[1] ?? '(none)';
  const major = Number.parseInt(version.replace(/^\d+:/, ''), 10);
  return { version, accepted: major >= oldestMesa };
}

/** @param {string | undefined} text */
function words(text) {
  return (text ?? '').split(/\s+/).filter((word) => word !== '' && word !== '#');
}

/** `signed-by` and `SIGNED-BY` are both `Signed-By`. @param {string} name */
function canonicalName(name) {
  const known = [
    'Types',
    'URIs',
    'Suites',
    'Components',
    'Enabled',
    'Architectures',
    'Languages',
    'Signed-By',
    'Trusted',
  ];
  return (
    known.find((it) => it.toLowerCase() === name.toLowerCase()) ?? name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase())
  );
}
