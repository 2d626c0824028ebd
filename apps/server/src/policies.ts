import { tenantPolicies, type Config } from '#libs/platform';
import { RemediationLimits, type ApprovalPolicies } from '#libs/remediation';

const HOUR_MS = 3_600_000;

/** What each tenant asks for before a remediation may run. */
export function policiesOf(config: Config): ApprovalPolicies {
  const policyOf = tenantPolicies(config);
  return {
    of(tenant) {
      const { fourEyesFrom, fourEyesForHardDelete, expireHours } = policyOf(tenant);
      return {
        fourEyesFrom: fourEyesFrom === 0 ? undefined : fourEyesFrom,
        fourEyesForHardDelete,
        expireAfterMs: expireHours * HOUR_MS,
      };
    },
  };
}

export const limitsOf = ({ limits }: Config): RemediationLimits =>
  new RemediationLimits(
    limits.byHand,
    limits.byQuery,
    limits.exclusions,
    limits.active,
    limits.activeEmails,
    limits.byQueryWithExclusions,
    limits.recipientPercent / 100,
    limits.ofOneRecipient,
    limits.hunting,
  );
