/** `node.ts` of bundles for browsers, where there is no Node: what needs it says so before. */
export {};
