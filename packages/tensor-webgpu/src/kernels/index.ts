import { complexKernels, takingComplex } from './complex.ts';
import { convolutionKernels } from './convolution-kernels.ts';
import { depthwiseKernels } from './depthwise.ts';
import { dilationKernels } from './dilation.ts';
import { einsumKernels } from './einsum.ts';
import { elementwiseKernels } from './elementwise-kernels.ts';
import { gatherKernels } from './gather.ts';
import { hostKernels } from './host.ts';
import { imageKernels } from './image.ts';
import type { Kernel } from './kernel.ts';
import { matmulKernels } from './matmul.ts';
import { movementKernels } from './movement.ts';
import { normalizationKernels } from './normalization.ts';
import { orderKernels } from './order.ts';
import { poolKernels } from './pool.ts';
import { reduceKernels } from './reduce.ts';
import { resizeKernels } from './resize.ts';
import { scanKernels } from './scan.ts';
import { scatterKernels } from './scatter.ts';
import { softmaxKernels } from './softmax.ts';
import { sparseKernels } from './sparse.ts';
import { textKernels } from './text.ts';

/** Every TensorFlow.js kernel of this backend. */
export const kernels: readonly Kernel[] = takingComplex([
  ...matmulKernels,
  ...elementwiseKernels,
  ...reduceKernels,
  ...scanKernels,
  ...softmaxKernels,
  ...movementKernels,
  ...gatherKernels,
  ...scatterKernels,
  ...orderKernels,
  ...einsumKernels,
  ...resizeKernels,
  ...convolutionKernels,
  ...depthwiseKernels,
  ...poolKernels,
  ...normalizationKernels,
  ...imageKernels,
  ...dilationKernels,
  ...complexKernels,
  ...sparseKernels,
  ...hostKernels,
  ...textKernels,
]);
