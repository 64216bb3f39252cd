/** The four bits that a character adds before its sign and its mark of more to come. */
const firstCharacter = 48;

let scratch = new Uint8Array(1 << 12);

/** At least this many bytes of scratch; the bytes before are kept. */
function grown(length: number): Uint8Array<ArrayBuffer> {
  if (length > scratch.length) {
    const larger = new Uint8Array(2 * length);
    larger.set(scratch);
    scratch = larger;
  }
  return scratch;
}

const decoder = new TextDecoder();

/**
 * pycocotools' strings of runs: from the fourth run on the difference to the run two before; little-endian groups of five bits, a sixth
 * bit while more follow, the last group's top bit being the sign; each plus 48 as a character.
 */
export function compressCounts(counts: Uint32Array): string {
  const bytes = grown(counts.length * 7);
  let length = 0;
  for (let index = 0; index < counts.length; index++) {
    let rest = index > 2 ? counts[index]! - counts[index - 2]! : counts[index]!;
    for (let more = true; more; ) {
      const group = rest & 31;
      rest = rest > 0x7fff_ffff || rest < -0x8000_0000 ? Math.floor(rest / 32) : rest >> 5;
      more = group & 16 ? rest !== -1 : rest !== 0;
      bytes[length++] = (more ? group | 32 : group) + firstCharacter;
    }
  }
  return decoder.decode(bytes.subarray(0, length));
}

/**
 * The runs of such a string.
 *
 * @throws when a character is outside of '0' to 'o', the string ends within a run, or a run is outside of [0, 2^32)
 */
export function decompressCounts(text: string): Uint32Array<ArrayBuffer> {
  let length = 0;
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) - firstCharacter < 32) length++; // last groups of runs
  const counts = new Uint32Array(length);
  let index = 0;
  for (let at = 0; at < text.length; ) {
    let run = 0;
    let scale = 1;
    for (let more = true; more; scale *= 32) {
      const group = text.charCodeAt(at++) - firstCharacter;
      if (!(group >= 0 && group < 64) || scale > 2 ** 30) {
        const found = at > text.length ? 'its end within a run' : `character ${at} of ${text.length} wrong`;
        throw new Error(`decompressRle: expected a compressed COCO RLE string, got ${found}`);
      }
      run += (group & 31) * scale;
      more = group >= 32;
      if (!more && group & 16) run -= scale * 32;
    }
    if (index > 2) run += counts[index - 2]!;
    if (run < 0 || run >= 2 ** 32) throw new Error(`decompressRle: expected runs of at least 0, got ${run}`);
    counts[index++] = run;
  }
  return counts;
}
