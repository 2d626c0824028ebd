import type { SubscriptionState } from '#libs/event-store';
import { errorClass, type Config } from '#libs/platform';
import type { ViewState } from '#libs/read-store';
import type { ViewGroup } from './views.js';

/** What a process that keeps views is told: first what to keep, in the end to stop. */
export type Order = Keep | 'stop';

export interface Keep {
  readonly keep: ViewGroup;
  readonly config: Config;
  /** Its name, and that of its successors: a store that knows it by that gives the views to them at once. */
  readonly instance: string;
}

/** What it tells. */
export type Report =
  /** Why it is about to end, when that is not what it was told. */
  | { readonly fault: Fault }
  | { readonly views: readonly Told<ViewState, 'cause'>[] }
  | { readonly subscription: Told<SubscriptionState, 'lastError'> };

/** An error on its way to another process: there it is known by its class, as the health checks show it. */
export interface Fault {
  readonly name: string;
  readonly message: string;
}

/** The same with its error on its way. */
export type Told<T, Member extends keyof T> = Omit<T, Member> & { readonly [K in Member]?: Fault };

export const faultOf = (error: unknown): Fault => ({
  name: errorClass(error),
  message: error instanceof Error ? error.message : String(error),
});

export const errorOf = ({ name, message }: Fault): Error => Object.assign(new Error(message), { name });
