/**
 * One plain line about what set-up does, on stderr so that the command's own output stays clean.
 *
 * @param {string} line
 */
export function say(line) {
  console.error(`setup: ${line}`);
}
