// Writes docs/codes.md from the catalogue of codes: `npm run codes`. A spec fails when the page is not up to date.
import { writeFileSync } from 'node:fs';
import { codesPage } from '../dist/libs/remediation/src/domain/codes-page.js';

writeFileSync(new URL('../docs/codes.md', import.meta.url), codesPage());
