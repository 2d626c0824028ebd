import { invalidInput, type ClawbackError, type FieldProblem } from '#libs/kernel';
import { z } from 'zod';

export const MAX_BATCH_REQUESTS = 20;

/** One request of a batch. */
export interface BatchRequest {
  readonly id: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly dependsOn: readonly string[];
}

export interface BatchResponse {
  readonly id: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const header = z
  .string('must be a text')
  .max(2048, 'must be at most 2048 characters')
  .regex(/^[\t\x20-\x7e]*$/, 'must be of visible ASCII characters');

const request = z.looseObject(
  {
    id: z.string('must be a text').min(1, 'must not be empty').max(128, 'must be at most 128 characters'),
    method: z
      .string('must be a text')
      .regex(/^(?:get|post|put|patch|delete)$/i, 'must be GET, POST, PUT, PATCH or DELETE'),
    url: z.string('must be a text').max(8192, 'must be at most 8192 characters'),
    headers: z
      .record(
        z.string().regex(/^[\w!#$%&'*+.^`|~-]{1,128}$/, 'must be a name of a header'),
        header,
        'must be an object',
      )
      .nullish(),
    body: z.unknown().optional(),
    dependsOn: z.array(z.string('must be a text'), 'must be a list').nullish(),
  },
  'must be an object',
);

const batch = z.looseObject(
  {
    requests: z
      .array(request, 'must be a list')
      .min(1, 'must have at least one request')
      .max(MAX_BATCH_REQUESTS, `must have at most ${String(MAX_BATCH_REQUESTS)} requests`),
  },
  'must be a JSON object',
);

/**
 * The requests of a batch, in their order.
 * @throws {ClawbackError} `batchInvalid`, for the whole of it: too many, an id twice (case does not matter), a
 * dependency that does not exist, or that goes round in a circle
 */
export function batchOf(body: unknown): readonly BatchRequest[] {
  const parsed = batch.safeParse(body);
  if (!parsed.success) {
    throw refusal(
      parsed.error.issues.slice(0, 100).map(({ path, message }) => ({
        field: path.length === 0 ? 'body' : path.join('.').slice(0, 200),
        problem: message,
      })),
    );
  }
  const requests = parsed.data.requests.map(({ id, method, url, headers, body: inner, dependsOn }) => ({
    id,
    method: method.toUpperCase(),
    url,
    headers: headers ?? {},
    ...(inner === undefined || inner === null ? {} : { body: inner }),
    dependsOn: (dependsOn ?? []).map(folded),
  }));
  checkIds(requests);
  checkCircles(requests);
  return requests;
}

/** Requests without dependencies run side by side; each other one once those before it have succeeded. */
export async function runBatch(
  requests: readonly BatchRequest[],
  send: (request: BatchRequest) => Promise<BatchResponse>,
  failedDependency: (request: BatchRequest) => BatchResponse,
): Promise<BatchResponse[]> {
  const byId = new Map(requests.map((one) => [folded(one.id), one]));
  const running = new Map<string, Promise<BatchResponse>>();
  const run = (one: BatchRequest): Promise<BatchResponse> => {
    const key = folded(one.id);
    const begun = running.get(key) ?? answer(one);
    running.set(key, begun);
    return begun;
  };
  const answer = async (one: BatchRequest): Promise<BatchResponse> => {
    const needed = one.dependsOn.flatMap((id) => byId.get(id) ?? []);
    const before = await Promise.all(needed.map(run));
    return before.every(({ status }) => status < 400) ? send(one) : failedDependency(one);
  };
  return Promise.all(requests.map(run));
}

const folded = (id: string): string => id.toLowerCase();

function checkIds(requests: readonly BatchRequest[]): void {
  const ids = new Set<string>();
  for (const [index, { id }] of requests.entries()) {
    if (ids.has(folded(id))) {
      throw refusal([
        { field: `requests.${String(index)}.id`, problem: 'is used twice; case does not matter' },
      ]);
    }
    ids.add(folded(id));
  }
  for (const [index, { dependsOn }] of requests.entries()) {
    if (dependsOn.every((id) => ids.has(id))) continue;
    throw refusal([
      { field: `requests.${String(index)}.dependsOn`, problem: 'names no request of the batch' },
    ]);
  }
}

/** Takes away what depends on nothing that is left, until nothing is left. */
function checkCircles(requests: readonly BatchRequest[]): void {
  let left = [...requests];
  while (left.length > 0) {
    const open = new Set(left.map(({ id }) => folded(id)));
    const blocked = left.filter(({ dependsOn }) => dependsOn.some((id) => open.has(id)));
    if (blocked.length === left.length) {
      throw refusal([{ field: 'requests', problem: 'depend on each other in a circle' }]);
    }
    left = blocked;
  }
}

const refusal = (problems: readonly FieldProblem[]): ClawbackError => invalidInput(problems, 'batchInvalid');
