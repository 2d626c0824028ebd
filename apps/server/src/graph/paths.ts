import type { FastifyRequest } from 'fastify';

/** The routes of Graph's shape are under this, with or without a version before it. */
export const COLLABORATION = '/security/collaboration';

const VERSION = /^\/(?:v1\.0|beta)(?=\/|$)/;

/** What a client writes before the path of a resource: `/v1.0`, `/beta` or nothing. */
export const versionIn = (path: string): string => VERSION.exec(path)?.[0] ?? '';

const pathOf = (url: string): string => url.replace(/[?#].*$/s, '');

/**
 * For Fastify's option `rewriteUrl`: clients of Graph put a version before every path. Both versions are one interface
 * here, so that the routes exist once. Nothing but Graph's own paths can be reached with a version.
 */
export const withoutVersion = (url: string): string =>
  url
    .replace(/^\/(?:v1\.0|beta)(?=\/(?:security\/|(?:\$|%24)batch(?:[?#]|$)))/, '')
    .replace(/^\/%24batch(?=[?#]|$)/, '/$batch');

/** Whether a request is one to the interface of Graph's shape, whether or not there is such a route. */
export function isGraphUrl(url: string): boolean {
  const path = pathOf(url);
  return versionIn(path) !== '' || /^\/(?:security(?:\/|$)|(?:\$|%24)batch$)/.test(path);
}

/** Which methods there are on a path of this interface; undefined when there is no such path. */
export function methodsOn(url: string): readonly string[] | undefined {
  const path = pathOf(withoutVersion(url));
  return RESOURCES.find(({ pattern }) => pattern.test(path))?.methods;
}

const RESOURCES: readonly { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [
  { pattern: /^\/\$batch$/, methods: ['POST'] },
  { pattern: /^\/security\/collaboration\/analyzedEmails$/, methods: ['GET', 'HEAD'] },
  {
    pattern: /^\/security\/collaboration\/analyzedEmails\/(?:microsoft\.graph\.security\.)?remediate$/,
    methods: ['POST'],
  },
  {
    pattern: /^\/security\/collaboration\/(?:analyzedEmails|remediations)\/[^/]+$/,
    methods: ['GET', 'HEAD'],
  },
];

/**
 * The address that the client uses, with the version it uses, for absolute links.
 * @param publicUrl where clients reach the server, when that is not where it listens
 */
export function baseOf(request: FastifyRequest, publicUrl: string | undefined): string {
  const root = publicUrl ?? `${request.protocol}://${hostOf(request)}`;
  return `${root.replace(/\/+$/, '')}${versionIn(request.originalUrl)}`;
}

/** A host is the caller's text: whatever is none does not get into a link. */
const hostOf = ({ host, socket }: FastifyRequest): string =>
  /^[\w.-]+(?::\d{1,5})?$|^\[[\da-f:.]+\](?::\d{1,5})?$/i.test(host)
    ? host
    : `127.0.0.1:${String(socket.localPort ?? '')}`;
