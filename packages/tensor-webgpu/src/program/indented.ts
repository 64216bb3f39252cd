/** WGSL with every line at the depth of its braces, without empty lines: people read it in profiles and in a compiler's errors. */
export function indented(wgsl: string): string {
  let depth = 0;
  const lines: string[] = [];
  for (const line of wgsl.split('\n').map((text) => text.trim())) {
    if (line === '') continue;
    const closing = /^[})]*/.exec(line)![0].length;
    lines.push('  '.repeat(Math.max(0, depth - closing)) + line);
    const code = line.replace(/\/\/.*$/, '');
    for (const letter of code) {
      if (letter === '{' || letter === '(') depth++;
      else if (letter === '}' || letter === ')') depth--;
    }
  }
  return `${lines.join('\n')}\n`;
}
