/** Text for HTML and SVG, in elements and quoted attributes. */
export function escapeMarkup(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** A name for a file: 'mIoU, one point' becomes 'miou-one-point'. */
export function slug(text: string): string {
  const words = text
    .toLowerCase()
    .normalize('NFKD')
    .match(/[a-z0-9]+/g);
  return (words ?? ['untitled']).join('-').slice(0, 60);
}

/** Whole numbers with all digits in groups of three, others with four digits. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString('en-US');
  return Math.abs(value) < 1e-4 || Math.abs(value) >= 1e6
    ? value.toExponential(3)
    : value.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}
