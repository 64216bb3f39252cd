import { sparseKernels } from './cpu/sparse.ts';
import { stringKernels } from './cpu/string-tensors.ts';
import { valueKernels } from './cpu/value-kernels.ts';
import { complexKernels, takingComplex } from './elementwise/complex.ts';
import { elementwiseKernels } from './elementwise/elementwise-kernels.ts';
import { imageKernels } from './images/image.ts';
import { resizeKernels } from './images/resize.ts';
import type { Kernel } from './kernel.ts';
import { einsumKernels } from './matmul/einsum.ts';
import { matmulKernels } from './matmul/matmul.ts';
import { gatherKernels } from './movement/gather.ts';
import { movementKernels } from './movement/movement.ts';
import { scatterKernels } from './movement/scatter.ts';
import { segmentKernels } from './movement/segments.ts';
import { fourierKernels } from './rows/fourier.ts';
import { normalizationKernels } from './rows/normalization.ts';
import { orderKernels } from './rows/order.ts';
import { reduceKernels } from './rows/reduce.ts';
import { scanKernels } from './rows/scan.ts';
import { softmaxKernels } from './rows/softmax.ts';
import { convolutionKernels } from './windows/convolution-kernels.ts';
import { depthwiseKernels } from './windows/depthwise.ts';
import { dilationKernels } from './windows/dilation.ts';
import { poolKernels } from './windows/pool.ts';

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
  ...segmentKernels,
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
  ...fourierKernels,
  ...sparseKernels,
  ...valueKernels,
  ...stringKernels,
]);
