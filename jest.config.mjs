/**
 * One jest project per kind of suite, chosen by file suffix:
 * `.spec.ts` pure unit, `.contract.spec.ts` a port's contract against an adapter, `.e2e.spec.ts` over HTTP or the
 * command line, `.fault.spec.ts` kills processes, `.scale.spec.ts` takes the largest size there is, `.servers.spec.ts`
 * needs servers, `.arch.spec.ts` the rules about the source itself.
 */
const base = {
  rootDir: '.',
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
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

export default {
  testTimeout: 60_000,
  projects: [
    project('unit', ['<rootDir>/{apps,libs,test}/**/*.spec.ts'], {
      testPathIgnorePatterns: ['\\.(contract|e2e|fault|arch|servers|scale)\\.spec\\.ts$', '/node_modules/'],
    }),
    ...['contract', 'e2e', 'fault', 'arch', 'servers', 'scale'].map((kind) =>
      project(kind, [`<rootDir>/{apps,libs,test}/**/*.${kind}.spec.ts`]),
    ),
  ],
};
