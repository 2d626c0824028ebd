import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { EventCodecs, MalformedEvent } from './codec.js';
import type { RecordedEvent } from './event-store.js';

/** A family with a past: `Renamed` has had two shapes, `Moved` three, `Closed` one. */
type DeskEvent =
  | { readonly type: 'Renamed'; readonly data: { readonly label: string } }
  | {
      readonly type: 'Moved';
      readonly data: { readonly room: { readonly floor: number; readonly door: string } };
    }
  | { readonly type: 'Closed'; readonly data: { readonly items: readonly { readonly price: number }[] } };

const codecs = new EventCodecs<DeskEvent>({
  Renamed: {
    schema: z.strictObject({ label: z.string() }),
    upcasters: [(data) => ({ label: (data as { name: unknown }).name })],
  },
  Moved: {
    schema: z.strictObject({ room: z.strictObject({ floor: z.number(), door: z.string() }) }),
    upcasters: [
      // 1: "3-17"; 2: { floor: "3", door: "17" }; 3: nested, and the floor is a number.
      (data) => {
        const [floor, door] = (data as { room: string }).room.split('-');
        return { floor, door };
      },
      (data) => {
        const { floor, door } = data as { floor: string; door: string };
        return { room: { floor: Number(floor), door } };
      },
    ],
  },
  Closed: { schema: z.strictObject({ items: z.array(z.strictObject({ price: z.number() })) }) },
});

const recorded = (type: string, version: string | undefined, data: unknown): RecordedEvent => ({
  id: '6f1f3f0e-8f0f-5b7e-9a51-0d8a4e5a2f10',
  type,
  data,
  metadata: { actor: 'kim', ...(version === undefined ? {} : { schemaVersion: version }) },
  stream: 'desk-1',
  revision: 4n,
  position: 17n,
});

describe('encoding an event', () => {
  it('adds the newest version of its type to the metadata', () => {
    const event: DeskEvent = { type: 'Closed', data: { items: [{ price: 3 }] } };
    expect(codecs.encode(event, 'id-1', { actor: 'kim' })).toEqual({
      id: 'id-1',
      type: 'Closed',
      data: { items: [{ price: 3 }] },
      metadata: { actor: 'kim', schemaVersion: '1' },
    });
    const renamed: DeskEvent = { type: 'Renamed', data: { label: 'North' } };
    expect(codecs.encode(renamed, 'id-1', {}).metadata).toEqual({ schemaVersion: '2' });
  });

  it('encodes the events of an append as it would each of them', () => {
    const events: DeskEvent[] = [
      { type: 'Closed', data: { items: [] } },
      { type: 'Renamed', data: { label: 'North' } },
      { type: 'Closed', data: { items: [{ price: 3 }] } },
    ];
    const encoded = codecs.encodeAll(events, (index) => `id-${String(index)}`, { actor: 'kim' });
    expect(encoded).toEqual(
      events.map((event, index) => codecs.encode(event, `id-${String(index)}`, { actor: 'kim' })),
    );
    expect(encoded[2]?.metadata).toBe(encoded[0]?.metadata);
  });

  it('does not let the caller say which version it is', () => {
    const event: DeskEvent = { type: 'Renamed', data: { label: 'North' } };
    expect(codecs.encode(event, 'id-1', { schemaVersion: '9' }).metadata.schemaVersion).toBe('2');
  });

  it('refuses what does not fit its own schema: nothing wrong is ever stored', () => {
    const wrong = { type: 'Closed', data: { items: [{ price: 'three' }] } } as unknown as DeskEvent;
    expect(() => codecs.encode(wrong, 'id-1', {})).toThrow(z.ZodError);
    const more = { type: 'Renamed', data: { label: 'North', colour: 'red' } } as DeskEvent;
    expect(() => codecs.encode(more, 'id-1', {})).toThrow(z.ZodError);
  });

  it('refuses a type of another family', () => {
    const other = { type: 'Painted', data: {} } as unknown as DeskEvent;
    expect(() => codecs.encode(other, 'id-1', {})).toThrow('no codec for Painted');
  });
});

describe('decoding an event', () => {
  it('gives back what was encoded, with where and how it was recorded', () => {
    const event: DeskEvent = { type: 'Moved', data: { room: { floor: 3, door: '17' } } };
    const { id, type, data, metadata } = codecs.encode(event, 'id-1', { actor: 'kim' });
    const stored = { id, type, data, metadata, stream: 'desk-1', revision: 4n, position: 17n };
    expect(codecs.decode(stored)).toEqual(stored);
    expect(codecs.decode(stored)).toMatchObject(event);
  });

  it('gives nothing for a type of another family, whatever its version and data', () => {
    expect(codecs.decode(recorded('Painted', undefined, { colour: 'red' }))).toBeUndefined();
    expect(codecs.decode(recorded('toString', '1', {}))).toBeUndefined();
  });

  const olderVersions: [string, string, unknown, unknown][] = [
    ['Renamed', '1', { name: 'North' }, { label: 'North' }],
    ['Renamed', '2', { label: 'North' }, { label: 'North' }],
    ['Moved', '1', { room: '3-17' }, { room: { floor: 3, door: '17' } }],
    ['Moved', '2', { floor: '3', door: '17' }, { room: { floor: 3, door: '17' } }],
    ['Moved', '3', { room: { floor: 3, door: '17' } }, { room: { floor: 3, door: '17' } }],
  ];
  it.each(olderVersions)(
    'takes %s of version %s through every later shape',
    (type, version, data, newest) => {
      const stored = recorded(type, version, data);
      expect(codecs.decode(stored)).toEqual({ ...stored, data: newest });
      expect(stored.data).toBe(data);
    },
  );

  it.each([undefined, '', '0', '-1', '1.5', 'one', 'NaN', 'Infinity'])(
    'refuses an event without a whole version from 1 on: %s',
    (version) => {
      const stored = recorded('Renamed', version, { label: 'North' });
      expect(() => codecs.decode(stored)).toThrow(MalformedEvent);
      expect(() => codecs.decode(stored)).toThrow('Renamed in desk-1 at revision 4: no valid schemaVersion');
    },
  );

  it('refuses a version that is newer than this program', () => {
    const stored = recorded('Renamed', '3', { label: 'North' });
    expect(() => codecs.decode(stored)).toThrow(MalformedEvent);
    expect(() => codecs.decode(stored)).toThrow(
      'Renamed in desk-1 at revision 4: version 3 is newer than 2, known here',
    );
  });

  const malformed: [string, unknown, string][] = [
    [
      'a wrong type deep inside',
      { items: [{ price: 1 }, { price: 'secret' }] },
      'items.1.price: invalid_type',
    ],
    ['a missing field', { items: [{}] }, 'items.0.price: invalid_type'],
    ['no object at all', 'secret', ': invalid_type'],
    ['a field too many', { items: [], note: 'secret' }, ': unrecognized_keys'],
  ];
  it.each(malformed)('names the path and never the value: %s', (_title, data, where) => {
    const error = errorOf(() => codecs.decode(recorded('Closed', '1', data)));
    expect(error).toBeInstanceOf(MalformedEvent);
    expect(error).toMatchObject({
      name: 'MalformedEvent',
      message: `Closed in desk-1 at revision 4: ${where}`,
    });
    expect(String((error as Error).cause)).not.toContain('secret');
  });

  it('names every path that is wrong', () => {
    const error = errorOf(() => codecs.decode(recorded('Closed', '1', { items: [{ price: '1' }, 2] })));
    expect(String(error)).toContain('items.0.price: invalid_type; items.1: invalid_type');
  });

  it('checks what an older version became', () => {
    const error = errorOf(() => codecs.decode(recorded('Renamed', '1', { label: 'North' })));
    expect(error).toMatchObject({ message: 'Renamed in desk-1 at revision 4: label: invalid_type' });
  });
});

describe('a family of events', () => {
  it('knows the wire names of its types', () => {
    expect(codecs.types).toEqual(['Renamed', 'Moved', 'Closed']);
  });
});

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('expected an error');
}
