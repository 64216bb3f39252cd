/** Side effect only: registers all gradients of tfjs-core. Bundled by scripts/bundle-gradients.mjs. */
export {};
