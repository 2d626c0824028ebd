/**
 * One jest project per kind of suite, chosen by file suffix:
 * `.spec.ts` pure unit, `.contract.spec.ts` a port's contract against an adapter, `.e2e.spec.ts` over HTTP or the
 * command line (all on the embedded stores, most of them on servers too), `.fault.spec.ts` kills processes,
 * `.scale.spec.ts` takes the largest size there is, `.servers.spec.ts` needs servers, `.arch.spec.ts` the rules about the
 * source itself.
 */
const base = {
  rootDir: '.',
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  setupFiles: ['<rootDir>/test/support/seed-laws.ts'],
  transform: { '^.+\\.ts$': '@swc/jest' },
  moduleNameMapper: {
    '^#libs/([^/]+)/([^/]+)$': '<rootDir>/libs/$1/src/$2/index.ts',
    '^#libs/([^/]+)$': '<rootDir>/libs/$1/src/index.ts',
    '^#apps/(.*)$': '<rootDir>/apps/$1/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
};

const project = (name, testMatch, more = {}) => ({ ...base, displayName: name, testMatch, ...more });

/**
 * Run on the embedded stores only: what is the embedded stores' own or changes their files (`health`), what is about
 * size and has a suite among the servers' (`import`, `real-input`), and what is settled before any store is asked:
 * the pages about the API (`docs`), who may do what (`access`), what no request may be (`bad-input`,
 * `generated-requests`).
 */
const EMBEDDED_ONLY = [
  'access',
  'bad-input',
  'docs',
  'generated-requests',
  'health',
  'import',
  'real-input',
].join('|');
const onBothKindsOfStores = [`<rootDir>/test/e2e/!(${EMBEDDED_ONLY}).e2e.spec.ts`];

export default {
  testTimeout: 60_000,
  projects: [
    project('unit', ['<rootDir>/{apps,libs,test}/**/*.spec.ts'], {
      testPathIgnorePatterns: ['\\.(contract|e2e|fault|arch|servers|scale)\\.spec\\.ts$', '/node_modules/'],
    }),
    project('e2e', onBothKindsOfStores),
    project('e2e-embedded', [`<rootDir>/test/e2e/@(${EMBEDDED_ONLY}).e2e.spec.ts`]),
    project('e2e-on-servers', onBothKindsOfStores, {
      globals: { clawbackOnServers: true },
      globalSetup: '<rootDir>/test/support/say-servers.mjs',
    }),
    ...['contract', 'fault', 'arch', 'servers', 'scale'].map((kind) =>
      project(kind, [`<rootDir>/{apps,libs,test}/**/*.${kind}.spec.ts`]),
    ),
  ],
};
