/** A part of a message: bytes that are there, or a promise of as many. */
type Part = Uint8Array | { readonly length: number; read(): Promise<Uint8Array> };

/** An encoded field, or several: their parts in order. */
export type Encoded = readonly Part[];

const lengthDelimited = 2;

/** A whole number: int32, int64, enum or bool. Negative ones take ten bytes, as in protobuf. */
export function integer(field: number, value: number): Encoded {
  return [Uint8Array.of(...varint(field << 3), ...varint(value))];
}

/** A float of 32 bits. */
export function float(field: number, value: number): Encoded {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [Uint8Array.of(...varint((field << 3) | 5)), bytes];
}

/** A string in UTF-8. */
export function text(field: number, value: string): Encoded {
  return message(field, [new TextEncoder().encode(value)]);
}

/** Whole numbers of one repeated field, packed. */
export function integers(field: number, values: readonly number[]): Encoded {
  return message(field, [Uint8Array.from(values.flatMap(varint))]);
}

/** A message within a message, or bytes: its fields one after another. */
export function message(field: number, ...fields: readonly Encoded[]): Encoded {
  const parts = fields.flat();
  return [Uint8Array.of(...varint((field << 3) | lengthDelimited), ...varint(byteLength(parts))), ...parts];
}

/** Bytes that the parts take. */
export function byteLength(parts: Encoded): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/** Parts that are there, as one. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(byteLength(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
