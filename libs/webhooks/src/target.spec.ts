import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Targets } from './target.js';

const PUBLIC = [
  '1.1.1.1',
  '8.8.8.8',
  '172.15.255.255',
  '172.32.0.0',
  '11.0.0.1',
  '2606:4700::1111',
  '2a00:1450::1',
];
const NOT_PUBLIC = [
  ...['0.0.0.0', '10.0.0.1', '10.255.255.255', '100.64.0.1', '127.0.0.1', '127.8.8.8', '169.254.169.254'],
  ...[
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
  ],
  ...['::', '::1', '::ffff:10.0.0.1', '::ffff:8.8.8.8', '::127.0.0.1', '64:ff9b::a00:1', '2002:a00:1::'],
  ...['fc00::1', 'fd12::1', 'fe80::1', 'fec0::1', 'ff02::1', '2001:db8::1'],
];

describe('where webhooks may go', () => {
  it.each(PUBLIC)('to %s', (address) => {
    expect(new Targets([]).permits(address)).toBe(true);
  });

  it.each(NOT_PUBLIC)('not to %s, unless that is configured', (address) => {
    expect(new Targets([]).permits(address)).toBe(false);
    expect(new Targets(['0.0.0.0/0', '::/0']).permits(address)).toBe(true);
  });

  it('to what is configured and not beside it', () => {
    const targets = new Targets(['10.1.0.0/16', 'fd00:1::/32']);
    expect(
      ['10.1.2.3', '10.2.0.1', 'fd00:1::5', 'fd00:2::5'].map((address) => targets.permits(address)),
    ).toEqual([true, false, true, false]);
  });

  it('to no address that is none', () => {
    expect(['', 'localhost', '1.2.3', '1.2.3.4.5'].map((text) => new Targets([]).permits(text))).toEqual(
      Array(4).fill(false),
    );
    expect(() => new Targets(['10.0.0.0'])).toThrow(TypeError);
    expect(() => new Targets(['ten/8'])).toThrow(TypeError);
  });

  it('however the address of a private network is written, it is known', () => {
    const targets = new Targets([]);
    const refused = (url: string): boolean => {
      try {
        targets.check(url);
        return false;
      } catch {
        return true;
      }
    };
    for (const host of [
      '2130706433',
      '0x7f.1',
      '0177.0.0.1',
      '127.1',
      '[::ffff:7f00:1]',
      '[0:0:0:0:0:0:0:1]',
    ]) {
      expect([host, refused(`https://${host}/`)]).toEqual([host, true]);
    }
    fc.assert(
      fc.property(fc.ipV4(), fc.boolean(), (address, asNumber) => {
        const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
        expect(refused(`https://${asNumber ? String(number) : address}/`)).toBe(!targets.permits(address));
      }),
    );
    expect(refused('https://hooks.example/')).toBe(false);
    expect(refused(`https://hooks.example/${'x'.repeat(2048)}`)).toBe(true);
  });

  const lookUp = (targets: Targets, name: string, all: boolean): Promise<unknown> =>
    new Promise((resolve) => {
      targets.lookup(name, { all }, (error, address) => {
        resolve(error === null ? address : error.code);
      });
    });

  it('looks at what a name stands for, whenever it is asked', async () => {
    for (const all of [true, false]) {
      expect(await lookUp(new Targets([]), 'localhost', all)).toBe('addressRefused');
      expect(JSON.stringify(await lookUp(new Targets(['127.0.0.0/8', '::1/128']), 'localhost', all))).toMatch(
        /127\.0\.0\.1|::1/,
      );
      // Offline the resolver may answer otherwise, but never an address.
      expect(await lookUp(new Targets([]), 'no-such-name.invalid', all)).toMatch(/^E[A-Z_]+$/);
    }
  });
});
