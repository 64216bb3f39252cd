import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../../kernels/kernel.ts';
import { resultMap } from '../../kernels/maps/result-map.ts';
import { memoised } from '../../program/memoised.ts';

interface WindowsText {
  readonly to: 'windows' | 'map';
  readonly residual: boolean;
  readonly wide: boolean;
  /** An invocation copies all channels of a place, which is faster on CPU adapters. */
  readonly runs: boolean;
}

const places = {
  windows: `let x = place % p.size;
  let y = (place / p.size) % p.size;
  let window = place / (p.size * p.size);
  let mapX = (window % p.columns) * p.size + x;
  let mapY = ((window / p.columns) % p.rows) * p.size + y;
  let other = (window / (p.columns * p.rows) * p.h + mapY) * p.w + mapX;
  let inside = mapX < p.w && mapY < p.h;`,
  map: `let mapX = place % p.w;
  let mapY = (place / p.w) % p.h;
  let row = mapY / p.size;
  let column = mapX / p.size;
  let window = (place / (p.w * p.h) * p.rows + row) * p.columns + column;
  let other = (window * p.size + mapY - row * p.size) * p.size + mapX - column * p.size;`,
};

const moving = memoised(({ to, residual, wide, runs }: WindowsText) => {
  const toMap = to === 'map';
  const value = `in0[other * p.channels + c]${residual ? ' + in1[at]' : ''}`;
  const store = `let at = place * p.channels + c;
  ${toMap ? `out[at] = ${value};` : `if (inside) { out[at] = ${value}; } else { out[at] = Out(); }`}`;
  return resultMap({
    label: toMap ? 'MergeWindows' : 'PartitionWindows',
    wide: [wide, wide],
    wideOutput: wide,
    moves: !residual,
    uniforms: {
      ...{ size: 'i32', h: 'i32', w: 'i32', rows: 'i32', columns: 'i32', channels: 'i32' },
    },
    body: runs
      ? `let place = i;
  ${places[to]}
  for (var c = 0; c < p.channels; c++) { ${store} }`
      : `let place = i / p.channels;
  let c = i - place * p.channels;
  ${places[to]}
  ${store}`,
  });
});

/** Moves a map [B, h, w, C] to windows [B * windows, size, size, C], or back, where a residual of its shape is added. */
function move(
  backend: WebgpuBackend,
  {
    map: [B, h, w, C],
    size,
    to,
  }: { map: readonly [number, number, number, number]; size: number; to: 'windows' | 'map' },
  inputs: readonly [tf.TensorInfo, tf.TensorInfo?],
): tf.TensorInfo {
  const [rows, columns] = [Math.ceil(h / size), Math.ceil(w / size)];
  const wide = C % 4 === 0;
  const channels = C / (wide ? 4 : 1);
  const shape = to === 'map' ? [B, h, w, C] : [B * rows * columns, size, size, C];
  const runs = backend.facts.isCpu;
  const units = shape[0]! * shape[1]! * shape[2]! * (runs ? 1 : channels);
  const tensors = inputs.filter((tensor) => tensor !== undefined);
  return moving({ to, residual: tensors.length > 1, wide, runs })(backend, {
    inputs: tensors,
    shape,
    dtype: 'float32',
    units,
    uniforms: { size, h, w, rows, columns, channels },
  });
}

type Shape4D = readonly [number, number, number, number];

export const windowsKernels: readonly Kernel[] = [
  kernel<Tensors<'x'>, { size: number }>('PartitionWindows', (backend, { x }, { size }) =>
    move(backend, { map: x.shape as [number, number, number, number], size, to: 'windows' }, [x]),
  ),
  kernel<Tensors<'windows', 'residual'>, { shape?: Shape4D }>(
    'MergeWindows',
    (backend, { windows, residual }, attrs) => {
      const map = attrs.shape ?? (residual!.shape as [number, number, number, number]);
      return move(backend, { map, size: windows.shape[1]!, to: 'map' }, [windows, residual]);
    },
  ),
];
