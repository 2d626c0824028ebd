import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { invalidInput } from '#libs/kernel';
import type { Config } from './config.js';

/** What a tenant asks for before a remediation may run; see CLAWBACK_FOUR_EYES_FROM and its neighbours. */
export interface TenantPolicy {
  readonly fourEyesFrom: number;
  readonly fourEyesForHardDelete: boolean;
  readonly expireHours: number;
}

const file = z.record(
  z.string().min(1),
  z
    .strictObject({
      fourEyesFrom: z.int().min(0).max(10_000_000),
      fourEyesForHardDelete: z.boolean(),
      expireHours: z
        .int()
        .min(1)
        .max(24 * 365),
    })
    .partial(),
);

/**
 * The policy of each tenant: what the policies file says, and the settings for the rest. Read once.
 * @throws {ClawbackError} `invalidConfiguration`: the file cannot be read, or says something else.
 */
export function tenantPolicies({ approval }: Pick<Config, 'approval'>): (tenant: string) => TenantPolicy {
  const { fourEyesFrom, fourEyesForHardDelete, expireHours, policiesFile } = approval;
  const common = { fourEyesFrom, fourEyesForHardDelete: fourEyesForHardDelete === 'true', expireHours };
  const special = policiesFile === undefined ? {} : readPolicies(policiesFile);
  return (tenant) => {
    const own = Object.hasOwn(special, tenant) ? special[tenant] : {};
    return {
      fourEyesFrom: own?.fourEyesFrom ?? common.fourEyesFrom,
      fourEyesForHardDelete: own?.fourEyesForHardDelete ?? common.fourEyesForHardDelete,
      expireHours: own?.expireHours ?? common.expireHours,
    };
  };
}

function readPolicies(path: string): z.output<typeof file> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw invalid('names a file that cannot be read as JSON');
  }
  const parsed = file.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`names a file that is wrong at ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}

const invalid = (problem: string): Error =>
  invalidInput([{ field: 'CLAWBACK_POLICIES_FILE', problem }], 'invalidConfiguration');
