import { describe, expect, it } from '@jest/globals';
import { attachments } from './attachments.js';

describe('attachments', () => {
  it('keep a value with an object', () => {
    const notes = attachments<string>();
    const [object, other] = [{}, {}];
    notes.attach(object, 'first');

    expect(notes.of(object)).toBe('first');
    expect(notes.of(other)).toBeUndefined();
  });

  it('keep the last one', () => {
    const notes = attachments<number>();
    const object = {};
    notes.attach(object, 1);
    notes.attach(object, 2);

    expect(notes.of(object)).toBe(2);
  });

  it('keep what others attach to the same object apart', () => {
    const [ours, theirs] = [attachments<string>(), attachments<string>()];
    const object = {};
    ours.attach(object, 'ours');

    expect(theirs.of(object)).toBeUndefined();
    theirs.attach(object, 'theirs');
    expect(ours.of(object)).toBe('ours');
  });

  it('take a frozen object', () => {
    const notes = attachments<string>();
    const object = Object.freeze({ frozen: true });
    notes.attach(object, 'noted');

    expect(notes.of(object)).toBe('noted');
  });

  it('are not seen by who lists, copies or compares the object', () => {
    const notes = attachments<string>();
    const object = { a: 1 };
    notes.attach(object, 'noted');

    expect(Reflect.ownKeys(object)).toEqual(['a']);
    expect(object).toStrictEqual({ a: 1 });
    expect(notes.of({ ...object })).toBeUndefined();
    expect(notes.of(structuredClone(object))).toBeUndefined();
  });
});
