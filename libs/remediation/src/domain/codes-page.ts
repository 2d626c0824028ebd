import { CATALOGUE } from './catalogue.js';

const INTRODUCTIONS: Readonly<Record<keyof typeof CATALOGUE, string>> = {
  actions: 'What a remediation does.',
  statuses: 'The life of a remediation: pending → started → queued → inProgress → completed or failed.',
  outcomes: 'What became of a copy. Submitted is always the sum of all outcomes, pending included.',
  reasons: 'Why an outcome is what it is.',
  obstacles: 'Why an action is not possible for an email, as its panel says it beside the reasons.',
};

const titled = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** The catalogue of codes as a page of Markdown, as prettier leaves it. */
export function codesPage(): string {
  const sections = Object.entries(CATALOGUE).map(([name, meanings]) => {
    const codes = Object.entries<string>(meanings).map(([code, meaning]) => `- \`${code}\`: ${meaning}`);
    return `## ${titled(name)}\n\n${INTRODUCTIONS[name as keyof typeof CATALOGUE]}\n\n${codes.join('\n')}\n`;
  });
  const introduction =
    'Every code that answers, logs and exports may hold. Codes are stable, texts may change. The same list is at\n' +
    '`GET /v1/catalogue`. This page is made by `npm run codes`.\n';
  return ['# Codes\n', introduction, ...sections].join('\n');
}
