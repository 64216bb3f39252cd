/** The import star of packages/: weights in the middle, slimsam above all; see CONTRIBUTING.md. */
const packages = ['weights', 'tensor-webgpu', 'vit', 'prune', 'distill', 'eval', 'scenes', 'slimsam', 'queue'];
const allowed = {
  weights: [],
  'tensor-webgpu': [],
  vit: ['weights', 'tensor-webgpu'],
  prune: ['weights'],
  distill: ['weights'],
  eval: ['weights'],
  scenes: ['weights', 'eval'],
  slimsam: ['weights', 'tensor-webgpu', 'vit', 'prune', 'distill', 'eval', 'scenes'],
  queue: ['slimsam'],
};

export default {
  forbidden: [
    ...packages.map((name) => ({
      name: `${name}-imports-only-${allowed[name].join('-') || 'nothing'}`,
      severity: 'error',
      from: { path: `^packages/${name}/src`, pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/([^/]+)/', pathNot: [name, ...allowed[name]].map((p) => `^packages/${p}/`) },
    })),
    {
      name: 'vit-uses-ops-only',
      severity: 'error',
      from: { path: '^packages/vit/src', pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/tensor-webgpu/', pathNot: '^packages/tensor-webgpu/(src|dist)/ops/' },
    },
    {
      name: 'queue-uses-jobs-only',
      severity: 'error',
      from: { path: '^packages/queue/src', pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/slimsam/', pathNot: '^packages/slimsam/(src|dist)/jobs/index[.]' },
    },
    {
      name: 'jobs-without-the-command-line',
      severity: 'error',
      from: { path: '^packages/slimsam/src/jobs/', pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/slimsam/src/cli/', reachable: true },
    },
    {
      name: 'slimsam-core-without-node',
      comment: 'What src/index.ts reaches runs in browsers too.',
      severity: 'error',
      from: { path: '^packages/slimsam/src/index[.]ts$' },
      to: {
        path: '^packages/slimsam/src/(node[.]ts|cli/|backend/|jobs/|run/|report/|photographs/(decoding|listing)/)',
        reachable: true,
      },
    },
    {
      name: 'slimsam-browser-without-node',
      severity: 'error',
      from: { path: '^packages/slimsam/src/browser[.]ts$' },
      to: {
        path: '^packages/slimsam/src/(node[.]ts|cli/|backend/|report/|run/(open-run|lock|read-metrics)[.]ts|photographs/(decoding|listing)/)',
        reachable: true,
      },
    },
    {
      name: 'no-circular',
      comment: 'Types included.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'packages-do-not-import-examples',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^examples/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|generated)/' },
    tsConfig: { fileName: 'tsconfig.base.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      conditionNames: ['@slimsam/source', 'import', 'node', 'default'],
      exportsFields: ['exports'],
    },
  },
};
