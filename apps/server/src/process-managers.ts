import { ActiveRemediationsOfView, CopyStatesOfViews, ProposalExpiry } from '#libs/action-center';
import { idFrom, type Clock } from '#libs/kernel';
import { LateArrivals, MailCatalog, type LateArrivalsDependencies } from '#libs/mail-catalog';
import type { Config } from '#libs/platform';
import {
  ExpireRemediation,
  ExpireRemediationHandler,
  SubmitRemediation,
  SubmitRemediationHandler,
} from '#libs/remediation';
import { limitsOf, policiesOf } from './policies.js';
import type { Stores } from './stores.js';

type OnError = (error: unknown, what: string) => void;

/** Whoever acts without a request. */
const ACTOR = 'clawback';

/** Submits what has arrived too late for a remediation, in the name of whoever submitted that one. */
export function lateArrivals(
  { events, readStore }: Pick<Stores, 'events' | 'readStore'>,
  config: Config,
  clock: Clock,
  checkpoints: LateArrivalsDependencies['checkpoints'],
  onError: OnError,
): LateArrivals {
  const submissions = new SubmitRemediationHandler(
    events,
    new MailCatalog(events, readStore),
    new ActiveRemediationsOfView(readStore),
    limitsOf(config),
    policiesOf(config),
  );
  return new LateArrivals({
    events,
    copies: new CopyStatesOfViews(events, readStore),
    checkpoints,
    clock,
    onError,
    async submit({ tenant, of, emails, key, cause }) {
      const { name, severity, action, sendersCopy, surface, approvalId } = of;
      // The action of a remediation that selects by a query is one that can be asked for.
      if (action === 'undo') return;
      const request = {
        name: `Late arrivals: ${name}`.slice(0, 200),
        description: '',
        severity,
        action,
        sendersCopy,
        surface,
        selection: { emails },
        lateArrivalOf: approvalId,
      };
      const context = {
        tenant,
        actor: of.submittedBy ?? ACTOR,
        causationId: cause.id,
        now: clock.now(),
      };
      await submissions.execute(new SubmitRemediation(request, context, true, key));
    },
  });
}

export function proposalExpiry(
  { events, readStore }: Pick<Stores, 'events' | 'readStore'>,
  clock: Clock,
  everyMs: number,
  onError: OnError,
): ProposalExpiry {
  const expirations = new ExpireRemediationHandler(events, clock);
  return new ProposalExpiry({
    store: readStore,
    clock,
    everyMs,
    onError,
    async expire(tenant, approvalId) {
      const causationId = idFrom('expire', approvalId);
      const context = { tenant, actor: ACTOR, causationId, now: clock.now() };
      await expirations.execute(new ExpireRemediation(approvalId, context));
    },
  });
}
