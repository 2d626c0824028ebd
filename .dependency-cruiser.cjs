/**
 * Which part may know which. Dependencies point one way: kernel <- stores and mailbox <- domain and catalogue <-
 * executor and Action Center <- apps. `test/arch` proves with a negative example that each kind of rule can fail.
 */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: `^${from}`, pathNot: '\\.spec\\.ts$' },
  to: { path: '^(libs|apps)/', pathNot: [`^${from}`, ...allowed.map((lib) => `^libs/${lib}/`)] },
});

module.exports = {
  forbidden: [
    only('kernel-knows-nothing', 'libs/kernel/', [], 'The kernel is below everything.'),
    only('sqlite-knows-nothing', 'libs/sqlite/', [], 'The SQLite file knows nothing of what is in it.'),
    only('event-store', 'libs/event-store/', ['kernel', 'sqlite'], 'The event log knows no domain.'),
    only(
      'read-store',
      'libs/read-store/',
      ['kernel', 'sqlite', 'event-store'],
      'Views in general know no view.',
    ),
    only('mailbox', 'libs/mailbox/', ['kernel', 'sqlite'], 'Mailboxes know no remediation.'),
    {
      name: 'domain-is-pure',
      comment: 'Decisions are pure functions: no store, no clock, no framework.',
      severity: 'error',
      from: { path: '^libs/([^/]+)/src/domain/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^(libs|apps)/', pathNot: ['^libs/$1/src/domain/', '^libs/kernel/'] },
    },
    {
      name: 'domain-uses-no-library',
      comment: 'Nothing from node_modules and nothing of Node itself decides.',
      severity: 'error',
      from: { path: '^libs/[^/]+/src/domain/', pathNot: '\\.spec\\.ts$' },
      to: { dependencyTypes: ['npm', 'npm-dev', 'core'] },
    },
    only(
      'remediation',
      'libs/remediation/',
      ['kernel', 'event-store'],
      'The write side asks the read side by its ports.',
    ),
    only(
      'mail-catalog',
      'libs/mail-catalog/',
      ['kernel', 'event-store', 'read-store', 'mailbox', 'remediation'],
      'The catalogue is below the Action Center.',
    ),
    only(
      'executor',
      'libs/executor/',
      ['kernel', 'event-store', 'mailbox', 'remediation'],
      'The executor is driven by events and reads no view.',
    ),
    only(
      'action-center',
      'libs/action-center/',
      ['kernel', 'event-store', 'read-store', 'remediation', 'mail-catalog'],
      'The Action Center only reads.',
    ),
    only(
      'rebuild',
      'libs/rebuild/',
      ['kernel', 'event-store', 'read-store'],
      'Building views anew knows no view in particular.',
    ),
    only(
      'webhooks',
      'libs/webhooks/',
      ['kernel', 'event-store', 'read-store'],
      'Webhooks are told what to send; they know no remediation.',
    ),
    only('platform', 'libs/platform/', ['kernel'], 'Edges of a process know no domain.'),
    {
      name: 'adapters-in-the-composition-root',
      comment: 'Only the composition root names an adapter; everybody else knows its port.',
      severity: 'error',
      from: {
        path: '^(libs|apps)/',
        pathNot: [
          '^libs/[^/]+/src/(sqlite|sandbox|eventstoredb|mongodb)/',
          '^apps/server/src/(runtime|stores)\\.ts$',
          '\\.spec\\.ts$',
          // The sandbox is a tenant of its own: it is filled from the events, and its faults have routes.
          '^libs/mail-catalog/src/sandbox-delivery\\.ts$',
          '^apps/server/src/(app\\.module|sandbox/sandbox\\.controller)\\.ts$',
        ],
      },
      to: { path: '^libs/[^/]+/src/(sqlite|sandbox|eventstoredb|mongodb)/' },
    },
    {
      name: 'libs-by-their-index',
      comment: 'A lib is imported by its name, never by a path into it.',
      severity: 'error',
      from: { path: '^(libs|apps)/([^/]+)/' },
      to: {
        path: '^libs/[^/]+/src/.+',
        pathNot: ['^libs/[^/]+/src/(index|(sqlite|sandbox|eventstoredb|mongodb)/index)\\.ts$', '^$1/$2/'],
      },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-test-code',
      comment: 'What ships does not need the tests.',
      severity: 'error',
      from: { path: '^(libs|apps)/', pathNot: '\\.spec\\.ts$' },
      to: { path: '^test/' },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-dev-dependencies',
      severity: 'error',
      from: { path: '^(libs|apps)/', pathNot: '\\.spec\\.ts$' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      conditionNames: ['source', 'import', 'require', 'node', 'default', 'types'],
      exportsFields: ['exports'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json'],
    },
  },
};
