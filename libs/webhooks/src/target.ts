import { lookup as resolve, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { invalidInput } from '#libs/kernel';

const MAX_URL = 2048;

/** Everything that is not the public internet: private, link-local, shared, reserved, translated and multicast. */
const NOT_PUBLIC = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24'],
  ...['203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  // Of version 6: what stands for an address of version 4 is refused whatever it stands for.
  ...['::/96', '::ffff:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48', '100::/64', '2001::/23', '2001:db8::/32'],
  ...['2002::/16', '3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8'],
];

/** A set of networks. */
class Networks {
  /** One list a family: Node takes every address of version 4 for one of version 6 as well. */
  private readonly lists = { 4: new BlockList(), 6: new BlockList() };

  /** @throws {TypeError} */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', prefix = ''] = network.split('/');
      const family = familyOf(address);
      if (family === undefined || !/^\d{1,3}$/.test(prefix)) {
        throw new TypeError('a network is an address, a slash and a number of bits');
      }
      this.lists[family].addSubnet(address, Number(prefix), `ipv${family}`);
    }
  }

  have(address: string): boolean {
    const family = familyOf(address);
    return family !== undefined && this.lists[family].check(address, `ipv${family}`);
  }
}

const familyOf = (address: string): 4 | 6 | undefined => {
  const version = isIP(address);
  return version === 4 || version === 6 ? version : undefined;
};

/** Where webhooks may go: the public internet, and the networks that the operator allows. */
export class Targets {
  private static readonly notPublic = new Networks(NOT_PUBLIC);
  private readonly allowed: Networks;

  /** @param networks such as `10.1.0.0/16`. @throws {TypeError} when one is none. */
  constructor(networks: readonly string[]) {
    this.allowed = new Networks(networks);
  }

  /** @param address an IP address */
  permits(address: string): boolean {
    return isIP(address) !== 0 && (this.allowed.have(address) || !Targets.notPublic.have(address));
  }

  /**
   * What can be known of an address before its name is looked up: https, or http to this machine; no credentials.
   * @throws {ClawbackError} `invalidInput`
   */
  check(url: string): void {
    const problem = this.problemWith(url);
    if (problem !== undefined) throw invalidInput([{ field: 'url', problem }]);
  }

  private problemWith(text: string): string | undefined {
    if (text.length > MAX_URL) return `must be at most ${MAX_URL} characters`;
    if (!URL.canParse(text)) return 'must be a web address';
    const url = new URL(text);
    const host = hostOf(url);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isThisMachine(host)))
      return 'must begin with https://';
    if (url.username !== '' || url.password !== '') return 'must not hold credentials';
    if (url.hash !== '') return 'must not have a fragment';
    // A name may mean another address tomorrow: it is looked at whenever something is sent.
    if (isIP(host) !== 0 && !this.permits(host)) return 'must not be an address of a private network';
    return undefined;
  }

  /** For a connection: looks a name up and refuses it when any of its addresses is not permitted. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    const all: LookupOptions & { all: true } = { ...options, all: true };
    resolve(hostname, all, (error: Error | null, addresses: LookupAddress[] | undefined) => {
      const [first] = addresses ?? [];
      if (error !== null) callback(error, '');
      else if (first === undefined || addresses?.every(({ address }) => this.permits(address)) !== true) {
        callback(new AddressRefused(), '');
      } else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/** The name stands for an address where nothing may be sent. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  readonly code = 'addressRefused';

  constructor() {
    super('the address is in a private network');
  }
}

/** The host of a URL, without the brackets of an address of version 6. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, '$1');

const isThisMachine = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
