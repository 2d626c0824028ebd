import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { codesPage } from './codes-page.js';
import { ACTIONS, CATALOGUE, OUTCOMES, REASON_CODES, STATUSES } from './index.js';

describe('docs/codes.md', () => {
  it('is the catalogue: run "npm run codes" where it is not', async () => {
    const page = await readFile(new URL('../../../../docs/codes.md', import.meta.url), 'utf8');
    expect(page).toBe(codesPage());
  });

  it('has every code', () => {
    const page = codesPage();
    for (const code of [...ACTIONS, ...STATUSES, ...OUTCOMES, ...REASON_CODES]) {
      expect(page).toContain(`- \`${code}\`: `);
    }
    expect(Object.keys(CATALOGUE.statuses)).toEqual([...STATUSES]);
  });
});
