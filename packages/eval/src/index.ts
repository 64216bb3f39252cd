export { maskIou } from './mask-iou.ts';
export { generateScene, type RgbImage, type Scene, type SceneAnnotation, type SceneOptions } from './scenes/scene.ts';
