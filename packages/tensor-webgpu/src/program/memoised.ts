type Field = string | number | boolean | undefined;

/**
 * `make`, once for each spec: later calls with equal fields give the same result. The fields are plain values, and each spec has the
 * same ones. What is made is kept for good, so the specs must be few: no sizes that vary from call to call.
 */
export function memoised<Spec extends { readonly [Name in keyof Spec]: Field }, Made>(
  make: (spec: Spec) => Made,
): (spec: Spec) => Made {
  const made = new Map<string, Made>();
  let names: (keyof Spec)[] | undefined;
  return (spec) => {
    names ??= Object.keys(spec) as (keyof Spec)[];
    let key = '';
    for (const name of names) key += `${spec[name]}|`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const fresh = make(spec);
    made.set(key, fresh);
    return fresh;
  };
}
