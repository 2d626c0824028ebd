import { describe, expect, it } from '@jest/globals';
import { isGraphUrl, methodsOn, withoutVersion } from './paths.js';

describe('paths of Graph', () => {
  it.each([
    ['/v1.0/security/collaboration/analyzedEmails?$top=1', '/security/collaboration/analyzedEmails?$top=1'],
    ['/beta/security/x', '/security/x'],
    ['/v1.0/$batch', '/$batch'],
    ['/beta/%24batch?x', '/$batch?x'],
    ['/security/x', '/security/x'],
    ['/$batch', '/$batch'],
  ])('%s is %s', (url, path) => {
    expect(withoutVersion(url)).toBe(path);
  });

  it.each([
    '/v1.0/v1/emails',
    '/beta/metrics',
    '/v1.0/docs',
    '/v1.0/v1.0/security/x',
    '/v1/emails',
    '/',
    '/v1.0',
  ])('%s is left as it is: nothing else is reached with a version', (url) => {
    expect(withoutVersion(url)).toBe(url);
  });

  it('tells its own requests from all others', () => {
    for (const url of ['/v1.0/x', '/beta', '/security/x?y', '/$batch', '/v1.0/%24batch']) {
      expect([url, isGraphUrl(url)]).toEqual([url, true]);
    }
    for (const url of ['/v1/emails', '/', '/betamax', '/securityx', '/x?/v1.0/', '/health/live']) {
      expect([url, isGraphUrl(url)]).toEqual([url, false]);
    }
  });

  it('knows the methods of each path', () => {
    expect(methodsOn('/v1.0/$batch')).toEqual(['POST']);
    expect(methodsOn('/security/collaboration/analyzedEmails?x=1')).toEqual(['GET', 'HEAD']);
    expect(methodsOn('/security/collaboration/analyzedEmails/remediate')).toEqual(['POST']);
    expect(methodsOn('/security/collaboration/analyzedEmails/x')).toEqual(['GET', 'HEAD']);
    expect(methodsOn('/security/collaboration/other')).toBeUndefined();
  });
});
