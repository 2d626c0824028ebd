import { Clock } from '#libs/kernel';

/** A clock that stands still until a test moves it. */
export class TestClock extends Clock {
  private time: Date;

  constructor(start = '2025-03-07T08:00:00.000Z') {
    super();
    this.time = new Date(start);
  }

  now(): Date {
    return this.time;
  }

  advance(ms: number): void {
    this.time = new Date(this.time.getTime() + ms);
  }
}
