declare module '*.safetensors?url' {
  const url: string;
  export default url;
}

declare module '*.css';

/** Folders of models beside the page, and the bytes of their weights (vite.config.ts). */
declare const servedModels: readonly { readonly name: string; readonly bytes: number }[];
