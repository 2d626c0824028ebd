import { isMalformedEvent } from '#libs/event-store';
import type { Facts } from '#libs/executor';
import type { JsonLogger } from '#libs/platform';

export type OnFault = (error: unknown, what: string, facts?: Facts) => void;

/** Logs what went wrong beside every request. */
export const faultLog =
  (logger: JsonLogger): OnFault =>
  (error, what, facts = {}) => {
    logger.error(what, { ...correlationIn(error), ...facts, err: error });
  };

/** What an event that cannot be read belongs to. */
const correlationIn = (error: unknown): Facts => {
  const correlationId = isMalformedEvent(error) ? error.correlationId : undefined;
  return correlationId === undefined ? {} : { correlationId };
};
