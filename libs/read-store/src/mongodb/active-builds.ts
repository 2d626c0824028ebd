import type { Collection } from 'mongodb';
import { formatPosition, type Position } from '#libs/kernel';
import { FIRST_BUILD } from '../view-rules.js';
import { insertIfMissing } from './checkpoints.js';
import type { Collections } from './mongo-connection.js';

interface ActiveBuildDocument {
  readonly _id: string;
  readonly build: number;
  /** Where the switch was decided, as text that sorts as the position does. */
  readonly asOf: string;
}

/** How old the answer to "which build is active" may be; every other process has noticed a switch after this. */
const KNOWN_FOR_MS = 1000;

/** Which build of each view is read. Asked before every query, and so kept in mind for a moment. */
export class ActiveBuilds {
  private readonly known = new Map<string, { readonly build: Promise<number>; readonly until: number }>();

  constructor(private readonly database: Collections) {}

  private get collection(): Collection<ActiveBuildDocument> {
    return this.database.collection('activeBuilds', { readConcern: { level: 'majority' } });
  }

  /** The active build of a version of a view. */
  of(key: string): Promise<number> {
    const known = this.known.get(key);
    if (known !== undefined && performance.now() < known.until) return known.build;
    return this.now(key);
  }

  /** The same, asked afresh. */
  now(key: string): Promise<number> {
    const build = this.read(key);
    this.known.set(key, { build, until: performance.now() + KNOWN_FOR_MS });
    build.catch(() => this.known.delete(key));
    return build;
  }

  /** A switch that was decided earlier than the one in force changes nothing. */
  async set(key: string, build: number, asOf: Position): Promise<void> {
    const position = formatPosition(asOf);
    await insertIfMissing(this.collection, { _id: key, build: FIRST_BUILD, asOf: '' });
    await this.collection.updateOne(
      { _id: key, asOf: { $lt: position } },
      { $set: { build, asOf: position } },
    );
    this.known.delete(key);
  }

  private async read(key: string): Promise<number> {
    return (await this.collection.findOne({ _id: key }))?.build ?? FIRST_BUILD;
  }
}
