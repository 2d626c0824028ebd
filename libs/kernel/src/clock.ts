/** Where edges get the time from. Domain functions never read a clock: they are given `now`. */
export abstract class Clock {
  abstract now(): Date;
}

export class SystemClock extends Clock {
  now(): Date {
    return new Date();
  }
}
