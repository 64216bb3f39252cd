import { gridSize, type SamConfig } from '../sam/config.ts';
import type { Graph } from './graph.ts';
import { channelNorm, convolution, gelu } from './layers.ts';

const encoder = 'prompt_encoder';

/** Places are reckoned in float32 in every graph: float16 knows pixels of a side of 1024 only to the half. */
const exact = 'F32';

/**
 * Tokens of points: coordinates [Z, P, 2] in pixels of the resized image and labels [Z, P], both float32 -> [Z, P, C].
 * Labels: 1 inside, 0 outside, 2 and 3 corners of a box, -1 padding; others give the bare position.
 */
export function addPoints(
  graph: Graph,
  config: SamConfig,
  { points, labels }: { points: string; labels: string },
): string {
  const name = `${encoder}.points`;
  const centres = graph.node('Add', `${name}.centre`, [points, graph.scalar(0.5, exact)]);
  const unit = graph.node('Div', `${name}.unit`, [centres, graph.scalar(config.imageSize, exact)]);
  const doubled = graph.node('Mul', `${name}.double`, [unit, graph.scalar(2, exact)]);
  const places = addFourier(graph, name, graph.node('Sub', `${name}.signed`, [doubled, graph.scalar(1, exact)]));

  const kinds = graph.node('Unsqueeze', `${name}.labels`, [labels, graph.integers(2)]); // [Z, P, 1]
  const isPadding = graph.node('Equal', `${name}.is_padding`, [kinds, graph.scalar(-1, exact)]);
  const padding = graph.weight(`${encoder}.not_a_point_embed.weight`, exact);
  const padded = graph.node('Where', `${name}.padded`, [isPadding, padding, places]);
  const embeddings = [0, 1, 2, 3].map((kind) => graph.weight(`${encoder}.point_embeddings.${kind}.weight`, exact));
  const table = graph.node('Concat', `${encoder}.point_embeddings`, embeddings, { axis: 0 }); // [4, C]
  const choices = graph.constant('labels of point_embeddings', exact, [4], [0, 1, 2, 3]);
  const isKind = graph.node('Equal', `${name}.is_kind`, [kinds, choices]); // [Z, P, 4]
  const oneHot = graph.node('Cast', `${name}.one_hot`, [isKind], { to: 1 });
  const byKind = graph.node('MatMul', `${name}.kind`, [oneHot, table]);
  const tokens = graph.node('Add', name, [padded, byKind]);
  return graph.cast(`${name}.half`, tokens, { from: exact, to: graph.float });
}

/** The positional encoding of every cell of the embedding: [h * w, C]. All of it is constant, so that it is reckoned once. */
export function addPositionGrid(graph: Graph, config: SamConfig): string {
  const g = gridSize(config);
  const name = `${encoder}.dense_pe`;
  const centres = Float32Array.from({ length: g * g * 2 }, (_, i) => {
    const cell = i >> 1;
    return ((i & 1 ? Math.floor(cell / g) : cell % g) + 0.5) * (2 / g) - 1;
  });
  const places = addFourier(graph, name, graph.constant(`${name}.centres`, exact, [g * g, 2], centres));
  return graph.cast(`${name}.half`, places, { from: exact, to: graph.float });
}

/** Random Fourier features of places in [-1, 1]: [..., 2] -> [..., C] = [sin, cos](2 pi x G). */
function addFourier(graph: Graph, name: string, places: string): string {
  const gaussian = graph.weight(`${encoder}.pe_layer.positional_encoding_gaussian_matrix`, exact); // [2, C / 2]
  const turns = graph.node('MatMul', `${name}.turns`, [places, gaussian]);
  const angles = graph.node('Mul', `${name}.angles`, [turns, graph.scalar(2 * Math.PI, exact)]);
  const waves = [graph.node('Sin', `${name}.sin`, [angles]), graph.node('Cos', `${name}.cos`, [angles])];
  return graph.node('Concat', `${name}.fourier`, waves, { axis: -1 });
}

/** The embedding of a mask, or of none where `has` [1] is 0: [N, 1, 4h, 4w] -> [N, C, h, w]. */
export function addMask(graph: Graph, { masks, has }: { masks: string; has: string }): string {
  const name = `${encoder}.mask_downscaling`;
  const strides = [2, 2];
  const half = channelNorm(graph, `${name}.1`, convolution(graph, `${name}.0`, masks, { bias: true, strides }));
  const active = gelu(graph, `${name}.2`, half);
  const quarter = channelNorm(graph, `${name}.4`, convolution(graph, `${name}.3`, active, { bias: true, strides }));
  const embedded = convolution(graph, `${name}.6`, gelu(graph, `${name}.5`, quarter), { bias: true });
  const hasNone = graph.node('Sub', `${encoder}.has_no_mask`, [graph.scalar(1), has]);
  const kept = graph.node('Mul', `${encoder}.mask`, [embedded, has]);
  return graph.node('Add', `${encoder}.dense`, [
    kept,
    graph.node('Mul', `${encoder}.no_mask`, [addNoMask(graph), hasNone]),
  ]);
}

/** What stands for no mask: [1, C, 1, 1]. */
export function addNoMask(graph: Graph): string {
  const shape = graph.integers(1, -1, 1, 1);
  return graph.node('Reshape', `${encoder}.no_mask_embed`, [graph.weight(`${encoder}.no_mask_embed.weight`), shape]);
}
