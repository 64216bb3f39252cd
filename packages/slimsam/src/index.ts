export { slimSam } from './recipe/makers.ts';
export type { AlignStep, PruneStep, Recipe } from './recipe/recipe.ts';
