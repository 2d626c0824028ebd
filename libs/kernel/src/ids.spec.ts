import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { validate, version } from 'uuid';
import { idsFrom } from './ids.js';

const texts = fc.array(fc.string(), { maxLength: 3 });
const index = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('ids of a series', () => {
  it('are valid UUIDs of version 5, the same ones for ever', () => {
    fc.assert(
      fc.property(texts, index, (parts, at) => {
        const id = idsFrom(...parts)(at);
        expect(validate(id) && version(id) === 5).toBe(true);
        expect(idsFrom(...parts)(at)).toBe(id);
      }),
    );
  });

  it('differ by their index and by what they are made from', () => {
    fc.assert(
      fc.property(texts, texts, index, index, (parts, others, one, another) => {
        fc.pre(one !== another && JSON.stringify(parts) !== JSON.stringify(others));
        expect(idsFrom(...parts)(one)).not.toBe(idsFrom(...parts)(another));
        expect(idsFrom(...parts)(one)).not.toBe(idsFrom(...others)(one));
      }),
    );
  });
});
