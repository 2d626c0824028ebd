import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify, type JWTVerifyGetKey, SignJWT } from 'jose';
import { ClawbackError, type FieldProblem, invalidInput } from '#libs/kernel';
import { isError } from './is-error.js';
import type { LocalKey } from './local-key.js';

/** What a caller may do; every route names the roles it is open to. */
export const ROLES = ['viewer', 'proposer', 'approver', 'purger', 'auditor', 'ingest', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/**
 * Application roles of Microsoft Graph, and what they amount to on the routes that have Graph's shape; nowhere else. A
 * hard delete needs the role `purger` beside them, as it does everywhere.
 */
export const APP_ROLES = {
  'SecurityAnalyzedMessage.Read.All': ['viewer'],
  'SecurityAnalyzedMessage.ReadWrite.All': ['viewer', 'approver'],
} as const satisfies Readonly<Record<string, readonly Role[]>>;
export type AppRole = keyof typeof APP_ROLES;

/** Who calls, as a verified token says. Every read and write stays inside `tenant`. */
export interface Principal {
  readonly subject: string;
  readonly tenant: string;
  readonly roles: readonly Role[];
  /** Absent when the token has none. */
  readonly appRoles?: readonly AppRole[];
}

/** The caller with what its application roles amount to: for routes of Graph's shape. */
export const withAppRoles = (principal: Principal): Principal => ({
  ...principal,
  roles: [
    ...new Set([
      ...principal.roles,
      ...(principal.appRoles ?? []).flatMap((role): readonly Role[] => APP_ROLES[role]),
    ]),
  ],
});

export const LOCAL_ISSUER = 'clawback-local';
export const DEFAULT_AUDIENCE = 'clawback';
export const DEFAULT_TENANT = 'default';
export const DEFAULT_TOKEN_TTL_SECONDS = 8 * 60 * 60;

const CLOCK_TOLERANCE_SECONDS = 5;

/** Asymmetric only: with a symmetric algorithm, everyone who knows the public key could sign. */
const ASYMMETRIC_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

export interface LocalTokenRequest {
  readonly subject: string;
  readonly roles: readonly (Role | AppRole)[];
  /** Default {@link DEFAULT_TENANT}. */
  readonly tenant?: string | undefined;
  /** Default 8 hours. */
  readonly ttlSeconds?: number | undefined;
  /** Default {@link DEFAULT_AUDIENCE}. */
  readonly audience?: string | undefined;
}

/**
 * A token for the embedded default, signed with the local key (EdDSA).
 * @throws ClawbackError 'invalid' `invalidTokenRequest` for a subject, tenant, role or lifetime that no verifier accepts.
 */
export async function signLocalToken(
  key: Pick<LocalKey, 'id' | 'privateKey'>,
  request: LocalTokenRequest,
): Promise<string> {
  const {
    subject,
    roles,
    tenant = DEFAULT_TENANT,
    ttlSeconds = DEFAULT_TOKEN_TTL_SECONDS,
    audience = DEFAULT_AUDIENCE,
  } = request;
  const problems: FieldProblem[] = [];
  const demand = (field: string, holds: boolean, problem: string) => {
    if (!holds) problems.push({ field, problem });
  };
  demand('subject', isSubject(subject), SUBJECT_RULE);
  demand('tenant', isTenant(tenant), TENANT_RULE);
  demand(
    'roles',
    roles.length > 0 && roles.every((role) => isRole(role) || isAppRole(role)),
    `must be some of ${ROLES.join(', ')}`,
  );
  demand('ttlSeconds', Number.isSafeInteger(ttlSeconds) && ttlSeconds > 0, 'must be a whole number above 0');
  if (problems.length > 0) throw invalidInput(problems, 'invalidTokenRequest');

  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ tid: tenant, roles: [...new Set(roles)] })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: key.id })
    .setIssuer(LOCAL_ISSUER)
    .setAudience(audience)
    .setSubject(subject)
    .setIssuedAt(now)
    .setExpirationTime(now + ttlSeconds)
    .sign(key.privateKey);
}

/** Decides whose request this is. An abstract class so that it serves as injection token too. */
export abstract class TokenVerifier {
  /**
   * @throws ClawbackError 'unauthenticated' with code `tokenMalformed`, `tokenExpired`, `tokenNotYetValid`,
   * `tokenForeign` (other key, algorithm, issuer or audience), `tokenWithoutTenant` or `tokenWithoutRoles`;
   * 'unavailable' `issuerUnavailable` when the issuer's keys cannot be fetched.
   */
  abstract verify(token: string): Promise<Principal>;
}

/** Accepts the tokens of {@link signLocalToken}. */
export class LocalTokenVerifier extends TokenVerifier {
  constructor(
    private readonly key: Pick<LocalKey, 'publicKey'>,
    private readonly audience = DEFAULT_AUDIENCE,
  ) {
    super();
  }

  verify(token: string): Promise<Principal> {
    const keys = () => Promise.resolve(this.key.publicKey);
    return verifyJwt(token, keys, { issuer: LOCAL_ISSUER, audience: this.audience, algorithms: ['EdDSA'] });
  }
}

/** Accepts the tokens of one OpenID Connect issuer, whose public keys are fetched, cached and refreshed. */
export class IssuerTokenVerifier extends TokenVerifier {
  private readonly keys: JWTVerifyGetKey;

  constructor(
    private readonly trusted: {
      readonly issuer: string;
      readonly audience: string;
      readonly jwksUri: string;
    },
  ) {
    super();
    const remote = createRemoteJWKSet(new URL(trusted.jwksUri));
    this.keys = async (header, token) => {
      try {
        return await remote(header, token);
      } catch (error) {
        throw isAboutTheToken(error) ? error : issuerUnavailable(error);
      }
    };
  }

  verify(token: string): Promise<Principal> {
    const { issuer, audience } = this.trusted;
    return verifyJwt(token, this.keys, { issuer, audience, algorithms: ASYMMETRIC_ALGORITHMS });
  }
}

/**
 * The token of an `Authorization: Bearer` header.
 * @throws ClawbackError 'unauthenticated' `tokenMissing` without one, `tokenMalformed` when it cannot be a token.
 */
export function bearerToken(authorization: string | undefined): string {
  const [scheme = '', token = '', ...more] = (authorization ?? '').split(' ');
  if (scheme.toLowerCase() !== 'bearer') {
    throw unauthenticated('tokenMissing', 'this needs a token: send "Authorization: Bearer <token>"');
  }
  if (more.length > 0 || !/^[\w.~+/-]+=*$/.test(token)) throw malformed();
  return token;
}

interface Expectations {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: string[];
}

async function verifyJwt(token: string, keys: JWTVerifyGetKey, expected: Expectations): Promise<Principal> {
  const options = {
    ...expected,
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    requiredClaims: ['exp', 'sub'],
  };
  try {
    const { payload } = await jwtVerify(token, keys, options);
    return principalOf(payload);
  } catch (error) {
    throw refusal(error);
  }
}

function principalOf({ sub, tid, roles }: JWTPayload): Principal {
  if (!isSubject(sub)) throw unauthenticated('tokenMalformed', `the claim "sub" ${SUBJECT_RULE}`);
  if (!isTenant(tid)) throw unauthenticated('tokenWithoutTenant', `the claim "tid" ${TENANT_RULE}`);
  // An issuer may give the same person roles in other systems too.
  const known = Array.isArray(roles) ? ROLES.filter((role) => roles.includes(role)) : [];
  const appRoles = Array.isArray(roles) ? roles.filter(isAppRole) : [];
  if (known.length === 0 && appRoles.length === 0) {
    throw unauthenticated('tokenWithoutRoles', `the claim "roles" must list some of ${ROLES.join(', ')}`);
  }
  return { subject: sub, tenant: tid, roles: known, ...(appRoles.length === 0 ? {} : { appRoles }) };
}

/** What went wrong in our words. The library's errors carry the claims, so they do not become the cause. */
function refusal(error: unknown): Error {
  if (error instanceof errors.JWTExpired) return unauthenticated('tokenExpired', 'the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed) return wrongClaim(error);
  if (FOREIGN.some((type) => error instanceof type)) {
    return foreign('is not signed by a key and an algorithm that are trusted here');
  }
  if (error instanceof errors.JOSEError) return malformed();
  return isError(error) ? error : new Error('the token could not be verified', { cause: error });
}

const FOREIGN = [
  errors.JWSSignatureVerificationFailed,
  errors.JOSEAlgNotAllowed,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
];

function wrongClaim({ claim, reason }: errors.JWTClaimValidationFailed): ClawbackError {
  if (claim === 'iss') return foreign('is of another issuer');
  if (claim === 'aud') return foreign('is for another audience');
  if (claim === 'nbf' && reason === 'check_failed') {
    return unauthenticated('tokenNotYetValid', 'the token is not valid yet');
  }
  return unauthenticated('tokenMalformed', `the claim "${claim}" of the token is missing or wrong`);
}

/** Errors of the key lookup that the caller's token causes; all others are the issuer's. */
const isAboutTheToken = (error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey ||
  error instanceof errors.JWKSMultipleMatchingKeys ||
  error instanceof errors.JOSENotSupported;

const unauthenticated = (code: string, message: string): ClawbackError =>
  new ClawbackError('unauthenticated', code, message);

const malformed = (): ClawbackError =>
  unauthenticated('tokenMalformed', 'this is not a signed JSON Web Token');

const foreign = (problem: string): ClawbackError => unauthenticated('tokenForeign', `the token ${problem}`);

const issuerUnavailable = (cause: unknown): ClawbackError =>
  new ClawbackError(
    'unavailable',
    'issuerUnavailable',
    'the keys of the token issuer cannot be fetched now; try again later',
    {},
    { cause },
  );

const SUBJECT_RULE = 'must be 1 to 256 characters without control characters';
const isSubject = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 256 && /^\P{Cc}+$/u.test(value);

const TENANT_RULE = 'must be 1 to 128 letters, digits, dots, hyphens or underscores';
const isTenant = (value: unknown): value is string =>
  typeof value === 'string' && /^[\w.-]{1,128}$/.test(value);

const isRole = (value: unknown): value is Role => ROLES.some((role) => role === value);

const isAppRole = (value: unknown): value is AppRole =>
  typeof value === 'string' && Object.hasOwn(APP_ROLES, value);
