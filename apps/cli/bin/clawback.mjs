#!/usr/bin/env -S node --min-semi-space-size=64 --max-semi-space-size=64
import { existsSync } from 'node:fs';

const main = new URL('../../../dist/apps/cli/src/main.js', import.meta.url);

if (existsSync(main)) {
  await import(main.href);
} else {
  console.error('clawback: not built yet: run npm run build first');
  process.exitCode = 70;
}
