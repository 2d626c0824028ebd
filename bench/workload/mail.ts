import { parseEmailLine, sampleLines, type EmailRecord } from '#libs/mail-catalog';
import { batcher, emailKeyOf, planner, type Batch, type SelectedEmail } from '#libs/remediation';

export const TENANT = 'fabrikam';

/** There are about four and a half emails to a message of the sample. */
const EMAILS_PER_MESSAGE = 4.4;

/** So many emails of the made-up organisation, in the order of time, the same ones every time. */
export function* mailRecords(count: number): Generator<EmailRecord> {
  let left = count;
  for (const line of sampleLines({ messages: Math.ceil(count / EMAILS_PER_MESSAGE) + 50, seed: 'bench' })) {
    const parsed = parseEmailLine(line);
    if (!parsed.ok) throw new Error(parsed.reason);
    yield parsed.record;
    left -= 1;
    if (left === 0) return;
  }
  throw new Error(`the sample has fewer than ${String(count)} emails`);
}

/** The same as lines of NDJSON, for an import. */
export function* mailLines(count: number): Generator<string> {
  let left = count;
  for (const line of sampleLines({ messages: Math.ceil(count / EMAILS_PER_MESSAGE) + 50, seed: 'bench' })) {
    yield line;
    left -= 1;
    if (left === 0) return;
  }
  throw new Error(`the sample has fewer than ${String(count)} emails`);
}

export const selectedEmailOf = (record: EmailRecord): SelectedEmail => ({
  networkMessageId: record.networkMessageId,
  recipientEmailAddress: record.recipientEmailAddress,
  internetMessageId: record.internetMessageId,
  sender: record.senderFromAddress,
  subject: record.subject,
  direction: record.direction,
  receivedAt: record.receivedAt,
  location: record.latestDeliveryLocation,
});

/** The batches of a soft delete of all these emails with the senders' copies, planned as the product plans them. */
export function planOf(emails: Iterable<SelectedEmail>): Batch[] {
  const byKey = [...emails].sort((a, b) => (emailKeyOf(a) < emailKeyOf(b) ? -1 : 1));
  const plan = planner({ action: 'softDelete', sendersCopy: true });
  const cutter = batcher();
  const batches: Batch[] = [];
  const give = (batch: Batch | undefined): void => {
    if (batch !== undefined) batches.push(batch);
  };
  for (const email of byKey) for (const copy of plan.add(email)) give(cutter.add(copy));
  for (const copy of plan.end()) give(cutter.add(copy));
  give(cutter.end());
  return batches;
}
