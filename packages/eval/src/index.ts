export { generateScene, type RgbImage, type Scene, type SceneAnnotation, type SceneOptions } from './scenes/scene.ts';
