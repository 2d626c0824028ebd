import { publicBody, type LiveFeed } from '#libs/action-center';
import { networksOf, type Config } from '#libs/platform';
import { Targets, type Messages, type RetryPolicy } from '#libs/webhooks';

/** Webhooks are told what everybody is told who listens. */
export const messagesOf = (live: LiveFeed): Messages => ({
  async *subscribe(request) {
    for await (const { position, notification } of live.subscribe(request)) {
      if (notification === undefined) {
        yield { position };
        continue;
      }
      const { type, time, approvalId } = notification;
      const { type: _type, time: _time, ...data } = publicBody(notification);
      yield { position, message: { type, time, about: approvalId, data } };
    }
  },
});

export const targetsOf = ({ webhooks }: Pick<Config, 'webhooks'>): Targets =>
  new Targets(networksOf(webhooks.networks));

export const retriesOf = ({ webhooks }: Pick<Config, 'webhooks'>): RetryPolicy => ({
  firstMs: webhooks.retryMs,
  longestMs: webhooks.longestRetryMs,
  giveUpMs: webhooks.giveUpMs,
});
