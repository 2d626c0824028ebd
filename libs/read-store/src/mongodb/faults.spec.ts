import { describe, expect, it } from '@jest/globals';
import {
  MongoBulkWriteError,
  MongoClientClosedError,
  MongoInvalidArgumentError,
  MongoNetworkError,
  MongoServerError,
  MongoUnexpectedServerResponseError,
} from 'mongodb';
import { guarded, isDuplicateKey } from './faults.js';

const answer = (code: number): MongoServerError =>
  new MongoServerError({ message: 'said by a server', code });
const ofSystem = (message: string, more: object): Error => Object.assign(new Error(message), more);
const inBulk = (error: Error): MongoBulkWriteError => new MongoBulkWriteError(error, {} as never);
const failing = (error: Error): Promise<never> => guarded(() => Promise.reject(error));

describe('faults of MongoDB', () => {
  it.each<[string, Error]>([
    ['a broken connection', new MongoNetworkError('closed')],
    ['a broken connection in the middle of a bulk write', inBulk(new MongoNetworkError('closed'))],
    ['a connection that broke under a writer', ofSystem('write EPIPE', { code: 'EPIPE', syscall: 'write' })],
    ['a name that is not found', ofSystem('no address', { code: 'EAI_AGAIN', syscall: 'getaddrinfo' })],
    ['a connection that the other side has ended', ofSystem('ended by the other party', { code: 'EPIPE' })],
    [
      'a connection that broke in the middle of a bulk write',
      inBulk(ofSystem('read ECONNRESET', { code: 'ECONNRESET', syscall: 'read' })),
    ],
    ['a socket that was closed before', ofSystem('destroyed', { code: 'ERR_STREAM_DESTROYED' })],
    ['no answer at all', new MongoUnexpectedServerResponseError('Unable to get response from server')],
    ['a client that was closed', new MongoClientClosedError()],
    ['a server that shuts down', answer(91)],
    ['a server that is the primary no more', answer(10107)],
    ['a majority that does not answer in time', answer(64)],
    ['a server that has begun anew in the middle of an answer', answer(43)],
    ['another write at the same time', answer(112)],
    ['an error of the server itself', answer(1)],
    ['a server that has no room on its disk', answer(14031)],
    ['a server that takes no writes for a while', answer(371)],
    ['a quota of a hosted server', answer(8000)],
    ['what has no code', new MongoServerError({ message: 'said by a server' })],
    ['a code that nobody has named yet', answer(599)],
  ])('are unavailability: %s', async (_, error) => {
    await expect(failing(error)).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'readStoreUnavailable',
      cause: error,
    });
  });

  it.each<[string, Error]>([
    ['a wrong statement', answer(2)],
    ['a wrong password', answer(18)],
    ['no right to do it', answer(13)],
    ['an index that cannot be made', answer(85)],
    ['a document that is too large', answer(10334)],
    ['a key that is there', answer(11000)],
    ['a refusal that is named by its place in the source', answer(40415)],
    ['a wrong statement in a bulk write', inBulk(answer(2))],
    ['a wrong call of the driver', new MongoInvalidArgumentError('no')],
    ['a mistake of ours', new TypeError('no')],
    ['a wrong call of Node', ofSystem('no', { code: 'ERR_INVALID_ARG_TYPE' })],
  ])('are not %s, which would be tried for ever', async (_, error) => {
    await expect(failing(error)).rejects.toBe(error);
  });
});

describe('isDuplicateKey', () => {
  const bulk = (...codes: readonly number[]): MongoBulkWriteError =>
    new MongoBulkWriteError(
      { message: 'refused', code: codes[0] ?? 0, writeErrors: codes.map((code) => ({ code }) as never) },
      {} as never,
    );

  it('knows a duplicate key, of one document or of several', () => {
    expect([answer(11000), bulk(11000), bulk(11000, 11000)].map(isDuplicateKey)).toEqual([true, true, true]);
  });

  it('is true of nothing else, nor when there is something else besides', () => {
    expect([answer(2), bulk(11000, 2), bulk(2, 11000), new Error('11000')].map(isDuplicateKey)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });
});
