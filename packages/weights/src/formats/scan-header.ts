/** Tensors, and entries of __metadata__; the largest models have some ten thousand. Each takes about 500 bytes of memory. */
const mostNames = 200_000;
/** Fields of one tensor's entry: dtype, shape, data_offsets, and room for what a later format may add. */
const mostFields = 16;
/** The header, a tensor's entry, its shape. */
const deepest = 3;

const quote = 34;
const backslash = 92;
const [openList, closeList, openObject, closeObject] = [91, 93, 123, 125];

/**
 * Goes once through the text of a safetensors header before it is parsed, since JSON.parse keeps the last of equal keys in silence and
 * builds whatever it is given: no name occurs twice in an object, nothing lies deeper than a shape, and counts are within limits.
 * Linear in the text. What is not JSON is left to JSON.parse.
 *
 * @returns what is wrong, in the words of an error; undefined when nothing is
 */
export function scanHeader(text: string): { expected: string; got: string } | undefined {
  const objects: Set<string>[] = []; // the keys of the objects around
  let depth = 0;
  let tensor = ''; // the last name in the outer object
  let at = skipSpace(text, 0);
  if (text.charCodeAt(at) !== openObject)
    return { expected: 'a JSON object as header', got: `'${text.slice(at, at + 20)}'` };
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      const end = stringEnd(text, at);
      const next = skipSpace(text, end);
      if (text[next] === ':') {
        const key = keyOf(text.slice(at, end));
        const keys = objects.at(-1);
        if (!keys || key === undefined) return undefined;
        if (keys.has(key)) return { expected: 'every name once', got: `'${key}' twice` };
        keys.add(key);
        if (objects.length === 1) tensor = key;
        const most = objects.length === 1 || tensor === '__metadata__' ? mostNames : mostFields;
        if (keys.size > most) return { expected: `at most ${most} names in '${tensor}' or beside it`, got: 'more' };
      }
      at = next - 1;
    } else if (code === openObject || code === openList) {
      if (++depth > deepest) return { expected: `values at most ${deepest} deep`, got: `a deeper one at ${at}` };
      if (code === openObject) objects.push(new Set());
    } else if (code === closeObject || code === closeList) {
      depth--;
      if (code === closeObject) objects.pop();
    }
  }
  return undefined;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++;
  return at;
}

/** Behind the closing quote, or the text's end. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== quote) at += text.charCodeAt(at) === backslash ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function keyOf(json: string): string | undefined {
  try {
    return JSON.parse(json) as string;
  } catch {
    return undefined;
  }
}
