export { generateScenes, type ScenesOptions } from './generate-scenes.ts';
export { generateScene, type RgbImage, type Scene, type SceneAnnotation, type SceneOptions } from './scene.ts';
