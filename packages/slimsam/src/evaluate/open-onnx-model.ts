import type { OnnxPathModel } from '@slimsam/eval/onnx';

/** Opens ONNX files. @throws when the convention is unknown, or as `openOnnxPath` does */
export async function openOnnxModel(place: string, convention: string | undefined): Promise<OnnxPathModel> {
  const { onnxConventions, openOnnxPath } = await import('@slimsam/eval/onnx');
  const { resizeBilinear } = await import('@slimsam/vit/images');
  const known = convention === undefined ? undefined : new Map(Object.entries(onnxConventions)).get(convention);
  if (convention !== undefined && !known)
    throw new Error(`--convention: expected ${Object.keys(onnxConventions).join(', ')}, got '${convention}'`);
  return openOnnxPath(place, { resize: resizeBilinear, ...(known && { convention: known }) });
}
