/**
 * pycocotools' strings of runs: from the third run on the difference to the run two before; little-endian groups of five bits, a sixth
 * bit while more follow, the last group's top bit being the sign; each plus 48 as a character.
 */
export function compressCounts(counts: readonly number[]): string {
  let text = '';
  counts.forEach((run, index) => {
    let rest = index > 2 ? run - counts[index - 2]! : run;
    for (let more = true; more; ) {
      const group = rest & 31;
      rest >>= 5;
      more = group & 16 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode((more ? group | 32 : group) + 48);
    }
  });
  return text;
}

/**
 * The runs of such a string.
 *
 * @throws when a character is outside of '0' to 'o', the string ends within a run, or a run is below 0
 */
export function decompressCounts(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length; ) {
    let run = 0;
    let shift = 0;
    for (let more = true; more; shift += 5) {
      const group = text.charCodeAt(at++) - 48;
      if (!(group >= 0 && group < 64) || shift > 30) {
        throw new Error(
          `decompressRle: expected a compressed COCO RLE string, got character ${at} of ${text.length} wrong`,
        );
      }
      run |= (group & 31) << shift;
      more = (group & 32) !== 0;
      if (!more && group & 16) run |= -1 << Math.min(shift + 5, 31);
    }
    if (counts.length > 2) run += counts[counts.length - 2]!;
    if (run < 0) throw new Error(`decompressRle: expected runs of at least 0, got ${run}`);
    counts.push(run);
  }
  return counts;
}
