import { describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import fc from 'fast-check';
import { ClawbackError } from '#libs/kernel';
import { createLogger, type JsonLogger, scrub } from './logging.js';

type Level = Parameters<typeof createLogger>[0]['log']['level'];

const logged = (write: (logger: JsonLogger) => void, level: Level = 'trace') => {
  const lines: string[] = [];
  write(createLogger({ log: { level } }, { write: (line) => lines.push(line) }));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe('JsonLogger', () => {
  it('writes one line of JSON with the time, the context and the fields', () => {
    const [line] = logged((logger) => {
      logger.warn('a store is slow', { waitedMs: 12, position: 42n }, 'Executor');
    });
    expect(line).toEqual({
      level: 40,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      msg: 'a store is slow',
      waitedMs: 12,
      position: '42',
      context: 'Executor',
    });
  });

  it('writes what is at least as severe as the level', () => {
    const lines = logged((logger) => {
      for (const method of ['verbose', 'debug', 'log', 'warn', 'error', 'fatal'] as const)
        logger[method](method);
    }, 'warn');
    expect(lines.map(({ msg }) => msg)).toEqual(['warn', 'error', 'fatal']);
  });

  it('serves as the logger of Nest, with its stacks and contexts', () => {
    const lines = logged((logger) => {
      Logger.overrideLogger(logger);
      try {
        new Logger('Worker').error('it broke', 'Error: it broke\n    at line 1');
        new Logger('Worker').error('it broke again');
      } finally {
        Logger.overrideLogger(true);
      }
    });
    expect(lines).toMatchObject([
      { msg: 'it broke', stack: 'Error: it broke\n    at line 1', context: 'Worker' },
      { msg: 'it broke again', context: 'Worker' },
    ]);
  });

  it('writes errors with their codes and causes', () => {
    const cause = new Error('connection lost');
    const [line] = logged((logger) => {
      logger.error('no answer', new ClawbackError('unavailable', 'storeDown', 'later', {}, { cause }));
    });
    expect(line).toMatchObject({
      msg: 'no answer',
      err: {
        type: 'ClawbackError',
        code: 'storeDown',
        message: 'later',
        cause: { message: 'connection lost' },
      },
    });
  });

  it('writes neither credentials nor subjects nor addresses, wherever they are', () => {
    const lines = logged((logger) => {
      logger.log('mail of kim@contoso.example', 'Bearer sesame.sesame');
      logger.log({ headers: { authorization: 'sesame', cookie: 'sesame' }, accessToken: 'sesame' });
      logger.log({ email: { subject: 'Sesame Street', recipientEmailAddress: 'kim@contoso.example' } });
      logger.log({ subjects: ['Sesame Street'], 'kim@contoso.example': 1 });
      logger.error(new Error('no mailbox <kim@contoso.example>'));
      logger.error('failed', { err: new Error('x', { cause: new Error('at "kim"@contoso.example') }) });
      logger.error('failed', new Error('token eyJhbGciOiJub25lIn0.sesame.sesame').stack);
    });
    expect(lines).toHaveLength(7);
    expect(JSON.stringify(lines)).not.toMatch(/sesame|contoso/i);
  });

  it('keeps counts whose names look private', () => {
    expect(
      logged((logger) => {
        logger.log({ recipients: 3, sendersCopies: 1 });
      }),
    ).toMatchObject([{ recipients: 3, sendersCopies: 1 }]);
  });

  it('survives an object that contains itself', () => {
    const circle: Record<string, unknown> = { name: 'circle' };
    circle['self'] = circle;
    expect(
      logged((logger) => {
        logger.log(circle);
      }),
    ).toMatchObject([{ name: 'circle' }]);
  });
});

describe('scrub', () => {
  it('removes every address from any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.emailAddress(), fc.string(), (before, address, after) => {
        expect(scrub(`${before} ${address} ${after}`)).not.toContain(address);
      }),
    );
  });

  it('leaves a text without secrets as it is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('batch', '12:', '(4/5)', '(/srv/node_modules/@nestjs/core/a.js:1:2)')),
        (words) => {
          expect(scrub(words.join(' '))).toBe(words.join(' '));
        },
      ),
    );
  });

  it.each(['a'.repeat(200_000), 'eyJ-'.repeat(50_000), 'bearer '.repeat(30_000)])(
    'copes with long texts (%#)',
    (text) => {
      expect(scrub(text).length).toBeLessThanOrEqual(text.length);
    },
  );
});
