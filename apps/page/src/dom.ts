import type { ModelFacts } from './worker/models.ts';

/** The element of an id. @throws when the page has none of that kind */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`page: expected an element ${kind.name} with id '${id}', got ${String(found)}`);
}

export const button = (id: string): HTMLButtonElement => byId(id, HTMLButtonElement);
export const input = (id: string): HTMLInputElement => byId(id, HTMLInputElement);
export const select = (id: string): HTMLSelectElement => byId(id, HTMLSelectElement);
export const canvas = (id: string): HTMLCanvasElement => byId(id, HTMLCanvasElement);
export const html = (id: string): HTMLElement => byId(id, HTMLElement);

/** A row of a table; the first cell is its header. */
function row(cells: readonly string[]): HTMLTableRowElement {
  const made = document.createElement('tr');
  cells.forEach((text, i) => {
    const cell = document.createElement(i === 0 ? 'th' : 'td');
    if (i === 0) cell.setAttribute('scope', 'row');
    cell.textContent = text;
    made.append(cell);
  });
  return made;
}

/** The row of a model in a table; times in milliseconds. */
export function modelRow(
  { name, parameters, bytes }: ModelFacts,
  { encoded, answered }: { readonly encoded?: number | undefined; readonly answered?: number | undefined },
  more: readonly string[] = [],
): HTMLTableRowElement {
  const ms = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(0));
  const cells = [`${(parameters / 1e6).toFixed(2)} M`, (bytes / 1e6).toFixed(1), ms(encoded), ms(answered)];
  return row([name, ...cells, ...more]);
}

/** Lets the user save a file. */
export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
