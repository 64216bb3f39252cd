/** What is left of each structure, as a share of the original's width. */
interface Panel {
  readonly title: string;
  readonly embedding: number;
  readonly bottleneck: number;
  /** What is trained then. */
  readonly next?: string;
}

const panels: readonly Panel[] = [
  { title: 'the original', embedding: 1, bottleneck: 1 },
  {
    title: '1: prune the embedding',
    embedding: 0.5,
    bottleneck: 1,
    next: '2: align the bottleneck with the original’s',
  },
  { title: '3: prune the bottleneck', embedding: 0.5, bottleneck: 0.5, next: '4: align the embedding with step 2’s' },
];
const bottlenecks = [
  { name: 'q, k, v', from: 62, height: 130 },
  { name: 'MLP', from: 166, height: 170 },
] as const;

const middle = 150; // of all bars, in a picture of 960 x 330
const [stream, block] = ['#2f6fd6', '#e07a1f'];
const dashed = 'fill="none" stroke="#d5d9e0" stroke-dasharray="3 3"';

/** A bar around the middle, in the outline of the original's. */
function bar(
  { x, width, height }: { x: number; width: number; height: number },
  share: number,
  look: string,
): string[] {
  const rect = (height: number, look: string) =>
    `<rect x="${x}" y="${middle - height / 2}" width="${width}" height="${height}" rx="3" ${look}/>`;
  return [rect(height, dashed), rect(share * height, look)];
}

const text = (x: number, y: number, look: string, words: string): string =>
  `<text x="${x}" y="${y}" ${look}>${words}</text>`;

/** The picture of docs/how-it-works.md: `vitest run -c docs/vitest.config.ts pictures -u` writes it. */
export function structuresSvg(): string {
  const drawn = panels.flatMap(({ title, embedding, bottleneck, next }, i) => {
    const left = 20 + 310 * i;
    return [
      text(left, 34, 'font-size="15" fill="#1d2433" font-weight="600"', title),
      ...bar({ x: left, width: 280, height: 64 }, embedding, `fill="${stream}" opacity="0.85"`),
      ...bottlenecks.flatMap(({ name, from, height }) => [
        ...bar({ x: left + from, width: 50, height }, bottleneck, `fill="${block}" opacity="0.92"`),
        text(left + from + 25, 155, 'font-size="13" fill="#fff" text-anchor="middle"', name),
      ]),
      ...(next === undefined ? [] : [text(left, 268, 'font-size="14" fill="#1d2433"', next)]),
    ];
  });
  const legend = (
    [
      [20, `fill="${stream}"`, 'embedding: the stream through all blocks'],
      [350, `fill="${block}"`, 'bottleneck: inside each block'],
      [620, dashed, 'what the original has'],
    ] as const
  ).flatMap(([x, look, words]) => [
    `<rect x="${x}" y="294" width="16" height="16" rx="3" ${look}/>`,
    text(x + 24, 307, 'font-size="14" fill="#5b6475"', words),
  ]);
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 330" font-family="Inter, system-ui, sans-serif">',
    '<title>Widths of the original, after the embedding was pruned, and after the bottleneck was</title>',
    '<rect width="960" height="330" fill="#fff"/>',
    ...drawn,
    ...legend,
    '</svg>\n',
  ].join('\n');
}
