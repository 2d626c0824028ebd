import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = resolve(import.meta.dirname, '../..');

interface Report {
  readonly summary: { readonly violations: readonly { readonly rule: { readonly name: string } }[] };
}

/** The names of the rules that a tree of sources breaks. */
async function brokenRules(directory: string): Promise<string[]> {
  const cruiser = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = join(root, '.dependency-cruiser.cjs');
  const output = await new Promise<string>((done, fail) => {
    const args = [cruiser, '--config', config, '--output-type', 'json', 'apps', 'libs'];
    execFile(process.execPath, args, { cwd: directory, maxBuffer: 1e8 }, (error, stdout) => {
      if (stdout === '') fail(error ?? new Error('no report'));
      else done(stdout);
    });
  });
  const { summary } = JSON.parse(output) as Report;
  return [...new Set(summary.violations.map(({ rule }) => rule.name))];
}

/** For each rule a file that breaks it. The other files of the tree are innocent. */
const OFFENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'kernel-knows-nothing': { 'libs/kernel/src/bad.ts': "import '../../event-store/src/index.js';" },
  'sqlite-knows-nothing': { 'libs/sqlite/src/bad.ts': "import '../../kernel/src/index.js';" },
  'event-store': { 'libs/event-store/src/bad.ts': "import '../../remediation/src/index.js';" },
  'read-store': { 'libs/read-store/src/bad.ts': "import '../../remediation/src/index.js';" },
  mailbox: { 'libs/mailbox/src/bad.ts': "import '../../remediation/src/index.js';" },
  'domain-is-pure': { 'libs/remediation/src/domain/bad.ts': "import '../../../event-store/src/index.js';" },
  'domain-uses-no-library': { 'libs/remediation/src/domain/bad.ts': "import 'node:fs';" },
  remediation: { 'libs/remediation/src/bad.ts': "import '../../read-store/src/index.js';" },
  'mail-catalog': { 'libs/mail-catalog/src/bad.ts': "import '../../action-center/src/index.js';" },
  executor: { 'libs/executor/src/bad.ts': "import '../../read-store/src/index.js';" },
  'action-center': { 'libs/action-center/src/bad.ts': "import '../../mailbox/src/index.js';" },
  rebuild: { 'libs/rebuild/src/bad.ts': "import '../../remediation/src/index.js';" },
  webhooks: { 'libs/webhooks/src/bad.ts': "import '../../action-center/src/index.js';" },
  platform: { 'libs/platform/src/bad.ts': "import '../../remediation/src/index.js';" },
  'adapters-in-the-composition-root': {
    'libs/read-store/src/bad.ts': "import '../../event-store/src/sqlite/index.js';",
    'libs/event-store/src/sqlite/index.ts': 'export {};',
  },
  'libs-by-their-index': {
    'apps/server/src/bad.ts': "import '../../../libs/kernel/src/inner.js';",
    'libs/kernel/src/inner.ts': 'export {};',
  },
  'no-cycles': {
    'libs/kernel/src/a.ts': "import './b.js';",
    'libs/kernel/src/b.ts': "import './a.js';",
  },
  'no-test-code': {
    'apps/server/src/bad.ts': "import '../../../test/support/helper.js';",
    'test/support/helper.ts': 'export {};',
  },
  resolvable: { 'apps/server/src/bad.ts': "import 'a-package-that-is-not-there';" },
};

const LIBS = [
  ...['kernel', 'sqlite', 'event-store', 'read-store', 'mailbox', 'remediation'],
  ...['mail-catalog', 'executor', 'action-center', 'webhooks', 'platform'],
];

describe('the direction of dependencies', () => {
  let scratch: string;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'clawback-arch-'));
  });

  afterAll(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  it('is kept by the sources', async () => {
    expect(await brokenRules(root)).toEqual([]);
  });

  it.each(Object.entries(OFFENCES))('is checked: %s', async (rule, files) => {
    const directory = join(scratch, rule);
    const innocent = Object.fromEntries(LIBS.map((lib) => [`libs/${lib}/src/index.ts`, 'export {};']));
    const tree = { 'tsconfig.json': '{}', 'apps/server/src/index.ts': 'export {};', ...innocent, ...files };
    for (const [path, text] of Object.entries(tree)) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), text);
    }
    expect(await brokenRules(directory)).toContain(rule);
  });
});
