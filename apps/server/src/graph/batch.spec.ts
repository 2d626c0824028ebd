import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { batchOf, runBatch, type BatchRequest, type BatchResponse } from './batch.js';

const one = (id: string, dependsOn: readonly string[] = []): object => ({
  id,
  method: 'GET',
  url: '/x',
  dependsOn,
});

describe('a batch', () => {
  it.each<[string, unknown, string]>([
    ['no object', [], 'must be a JSON object'],
    ['no list', {}, 'must be a list'],
    ['an empty list', { requests: [] }, 'at least one'],
    ['too many', { requests: Array.from({ length: 21 }, (_, n) => one(String(n))) }, 'at most 20'],
    ['an id twice', { requests: [one('a'), one('A')] }, 'is used twice'],
    ['an unknown dependency', { requests: [one('a', ['b'])] }, 'names no request'],
    ['a circle', { requests: [one('a', ['b']), one('b', ['a']), one('c')] }, 'in a circle'],
    ['itself', { requests: [one('a', ['a'])] }, 'in a circle'],
    ['a bad method', { requests: [{ ...one('a'), method: 'TRACE' }] }, 'must be GET'],
    ['a bad header', { requests: [{ ...one('a'), headers: { x: 'a\r\nb: c' } }] }, 'visible ASCII'],
  ])('with %s is refused as a whole', (_what, body, problem) => {
    expect(() => batchOf(body)).toThrow(problem);
  });

  it('runs each request once, after those before it, and none whose dependency has failed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ needs: fc.nat(), needsOne: fc.boolean(), fails: fc.boolean() }), {
          minLength: 1,
          maxLength: 20,
        }),
        async (shape) => {
          const requests = batchOf({
            requests: shape.map(({ needs, needsOne }, index) =>
              one(`R${String(index)}`, needsOne && index > 0 ? [`r${String(needs % index)}`] : []),
            ),
          });
          const sent: string[] = [];
          const answer = ({ id }: BatchRequest, status: number): BatchResponse => ({
            id,
            status,
            headers: {},
          });
          const responses = await runBatch(
            requests,
            async (request) => {
              await Promise.resolve();
              sent.push(request.id);
              return answer(request, shape[requests.indexOf(request)]?.fails === true ? 500 : 200);
            },
            (request) => answer(request, 424),
          );
          expect(responses.map(({ id }) => id)).toEqual(requests.map(({ id }) => id));
          expect(new Set(sent).size).toBe(sent.length);
          const statusOf = new Map(responses.map(({ id, status }) => [id.toLowerCase(), status]));
          for (const { id, dependsOn } of requests) {
            const failed = dependsOn.some((needed) => (statusOf.get(needed) ?? 0) >= 400);
            expect([id, statusOf.get(id.toLowerCase()) === 424]).toEqual([id, failed]);
            expect([id, sent.includes(id)]).toEqual([id, !failed]);
            for (const needed of dependsOn) {
              if (!failed)
                expect(sent.map((each) => each.toLowerCase()).indexOf(needed)).toBeLessThan(sent.indexOf(id));
            }
          }
        },
      ),
    );
  });
});
