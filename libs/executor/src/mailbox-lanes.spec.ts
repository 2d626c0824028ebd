import { describe, expect, it } from '@jest/globals';
import { gate } from '../../../test/support/scripted-gateway.js';
import { TestClock } from '../../../test/support/test-clock.js';
import { MailboxLanes } from './mailbox-lanes.js';

const ANN = 'fabrikam/ann@fabrikam.example';
const KIM = 'fabrikam/kim@fabrikam.example';
const START_MS = new TestClock().now().getTime();
const closedFor = (ms: number) => ({ kind: 'closed', until: START_MS + ms });
const done = () => Promise.resolve('done');

const setUp = (places = 1) => {
  const clock = new TestClock();
  return { clock, lanes: new MailboxLanes(places, clock) };
};

describe('a lane that is closed', () => {
  it('begins nothing until its time, and says when that is', async () => {
    const { clock, lanes } = setUp();
    lanes.close(ANN, START_MS + 1000);
    let begun = 0;
    const task = () => {
      begun += 1;
      return done();
    };
    clock.advance(999);
    expect([await lanes.run(ANN, task), lanes.closedNow(ANN), begun]).toEqual([
      closedFor(1000),
      closedFor(1000),
      0,
    ]);
    clock.advance(1);
    expect([await lanes.run(ANN, task), lanes.closedNow(ANN), begun]).toEqual(['done', undefined, 1]);
  });

  it('sends away who waits for a place; what is under way goes on, and its place is free again', async () => {
    const { clock, lanes } = setUp();
    const under = gate();
    const running = lanes.run(ANN, () => under.opened.then(done));
    const waiting = [lanes.run(ANN, done), lanes.run(ANN, done)];
    lanes.close(ANN, START_MS + 1000);
    expect(await Promise.all(waiting)).toEqual([closedFor(1000), closedFor(1000)]);

    clock.advance(1000);
    const next = lanes.run(ANN, done);
    under.open();
    expect([await running, await next]).toEqual(['done', 'done']);
    expect(await lanes.run(ANN, done)).toBe('done');
  });

  it('is no business of other mailboxes', async () => {
    const { lanes } = setUp();
    lanes.close(ANN, START_MS + 1000);
    expect(await lanes.run(KIM, done)).toBe('done');
  });

  it.each([
    ['later', 2000, 2000],
    ['earlier', 500, 1000],
  ])('and is to be closed until %s stays closed until the later of both', (_what, again, until) => {
    const { lanes } = setUp();
    lanes.close(ANN, START_MS + 1000);
    expect(lanes.close(ANN, START_MS + again)).toEqual(closedFor(until));
    expect(lanes.closedNow(ANN)).toEqual(closedFor(until));
  });

  it('is still closed when others have opened again', () => {
    const { clock, lanes } = setUp();
    lanes.close(KIM, START_MS + 10);
    lanes.close(ANN, START_MS + 1000);
    clock.advance(20);
    lanes.close('fabrikam/lee@fabrikam.example', START_MS + 30);
    expect([lanes.closedNow(KIM), lanes.closedNow(ANN)]).toEqual([undefined, closedFor(1000)]);
  });
});
