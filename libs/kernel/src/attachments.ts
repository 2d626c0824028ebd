/** A constructor that gives back what it is told to: what is derived from it adds its private fields to that. */
class Given {
  constructor(object: object) {
    return object;
  }
}

/** Values that are kept with objects, each for as long as its object lives. */
export interface Attachments<Value> {
  of(object: object): Value | undefined;
  /** In place of the one before, if any. */
  attach(object: object, value: Value): void;
}

/**
 * What a WeakMap is, without its price: an entry of that takes some 2 µs to make, and every collection of garbage goes
 * through all of them. Here the value is in a private field of the object, which nothing that lists, compares, copies or
 * freezes the object sees.
 */
export function attachments<Value>(): Attachments<Value> {
  class Attached extends Given {
    #value: Value;

    constructor(object: object, value: Value) {
      super(object);
      this.#value = value;
    }

    static of(object: object): Value | undefined {
      return #value in object ? object.#value : undefined;
    }

    static attach(object: object, value: Value): void {
      if (#value in object) object.#value = value;
      else new Attached(object, value);
    }
  }
  return Attached;
}
