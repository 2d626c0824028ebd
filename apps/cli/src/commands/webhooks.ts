import { InvalidArgumentError, type Command } from 'commander';
import { DELIVERY_STATES, type Delivery, type Webhook } from '../api.js';
import { action, type Shell } from '../context.js';
import { ExitCode } from '../exit-codes.js';
import { usageError } from '../failure.js';
import { addListingOptions, showListing, type ListingOptions } from '../listing.js';
import { choice, instant } from '../options.js';
import { facts, printable, type Column } from '../output.js';

export function registerWebhooks(program: Command, shell: Shell): void {
  const webhooks = program
    .command('webhooks')
    .summary('who is sent what happens, and what came of it')
    .description('Register webhooks, look at what they were sent, and send it again. Needs the role admin.')
    .addHelpText(
      'after',
      '\nExamples:\n  clawback webhooks add https://soar.fabrikam.example/hooks --types remediation.completed\n' +
        '  clawback webhooks deliveries ID --state failing\n  clawback webhooks replay ID --from-time 2026-11-24',
    );
  registerList(webhooks, shell);
  registerAdd(webhooks, shell);
  registerRemove(webhooks, shell);
  registerDeliveries(webhooks, shell);
  registerReplay(webhooks, shell);
}

const WEBHOOKS: readonly Column<Webhook>[] = [
  { title: 'webhook', of: ({ webhookId }) => webhookId },
  { title: 'status', of: ({ status }) => status },
  { title: 'why', of: ({ pausedBecause, failing }) => pausedBecause ?? failing?.error },
  { title: 'delivered up to', of: ({ deliveredUpTo }) => deliveredUpTo },
  { title: 'url', of: ({ url }) => url },
  { title: 'description', of: ({ description }) => description },
];

function registerList(webhooks: Command, shell: Shell): void {
  const command = webhooks
    .command('list')
    .summary('the webhooks, whether they work, and how far they are')
    .addHelpText('after', '\nExample:\n  clawback webhooks list');
  addListingOptions(command).action(
    action<ListingOptions>(shell, (context, options) =>
      showListing(context, options, WEBHOOKS, (at) => context.client.webhooks(at)),
    ),
  );
}

interface AddOptions {
  readonly types?: readonly string[];
  readonly description?: string;
}

function registerAdd(webhooks: Command, shell: Shell): void {
  webhooks
    .command('add')
    .summary('register a webhook; prints its secret, this once')
    .description(
      'Register a webhook: from now on its receiver is sent what happens to remediations. Prints the secret that its ' +
        'messages are signed with. It is told this once: whoever loses it has to have a new one made.',
    )
    .argument('<url>', 'where messages are sent; https, or http on this machine')
    .option('--types <types>', 'only these, with commas between them (default: all but progress)', listOf)
    .option('--description <text>', 'whose it is')
    .addHelpText(
      'after',
      '\nExample:\n  clawback webhooks add https://soar.fabrikam.example/hooks --types remediation.completed,remediation.failed',
    )
    .action(
      action<AddOptions>(shell, async ({ client, out }, { types, description }, [url = '']) => {
        const webhook = await client.addWebhook({
          url,
          ...(types === undefined ? {} : { types }),
          ...(description === undefined ? {} : { description }),
        });
        out.result(
          webhook,
          facts([
            ['Webhook', webhook.webhookId],
            ['Secret', webhook.secret],
          ]),
        );
        return ExitCode.ok;
      }),
    );
}

function listOf(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.includes('')) throw new InvalidArgumentError('It must be names with commas between them.');
  return items;
}

function registerRemove(webhooks: Command, shell: Shell): void {
  webhooks
    .command('remove')
    .summary('remove a webhook for good')
    .argument('<webhook>', 'its ID')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  clawback webhooks remove ID --yes')
    .action(
      action<{ readonly yes?: boolean }>(shell, async (context, { yes }, [id = '']) => {
        context.requireConsent(yes);
        if (!(await context.confirm(`remove the webhook ${printable(id)} for good?`, yes))) {
          context.out.note('nothing was removed');
          return ExitCode.interrupted;
        }
        await context.client.removeWebhook(id);
        context.out.result({ removed: id }, `removed ${printable(id)}`);
        return ExitCode.ok;
      }),
    );
}

const DELIVERIES: readonly Column<Delivery>[] = [
  { title: 'position', of: ({ position }) => position },
  { title: 'type', of: ({ type }) => type },
  { title: 'approval ID', of: ({ approvalId }) => approvalId },
  { title: 'state', of: ({ state }) => state },
  { title: 'attempts', of: ({ attempts }) => attempts, right: true },
  { title: 'last answer', of: ({ lastAttempts: [last] }) => last?.error ?? last?.status },
  { title: 'next attempt', of: ({ nextAttemptAt }) => nextAttemptAt },
];

function registerDeliveries(webhooks: Command, shell: Shell): void {
  const command = webhooks
    .command('deliveries')
    .summary('what a webhook was sent and what came of it, the newest first')
    .argument('<webhook>', 'its ID')
    .addOption(choice('--state <state>', 'in this state', DELIVERY_STATES))
    .addHelpText('after', '\nExample:\n  clawback webhooks deliveries ID --state failing');
  addListingOptions(command).action(
    action<ListingOptions & { readonly state?: string }>(shell, (context, options, [id = '']) =>
      showListing(context, options, DELIVERIES, (at) =>
        context.client.deliveries(id, { state: options.state, ...at }),
      ),
    ),
  );
}

interface ReplayOptions {
  readonly fromPosition?: string;
  readonly fromTime?: string;
}

function registerReplay(webhooks: Command, shell: Shell): void {
  webhooks
    .command('replay')
    .summary('send everything again from some place on')
    .description(
      'Send a webhook everything again from a position of the log or a time on, under the same message IDs. Give one of ' +
        'the two.',
    )
    .argument('<webhook>', 'its ID')
    .option('--from-position <position>', 'as "deliveries" lists it')
    .option('--from-time <time>', 'what happened at or after this time (ISO 8601, UTC by default)', instant)
    .addHelpText('after', '\nExample:\n  clawback webhooks replay ID --from-time 2026-11-24T08:00')
    .action(
      action<ReplayOptions>(shell, async ({ client, out }, { fromPosition, fromTime }, [id = '']) => {
        if ((fromPosition === undefined) === (fromTime === undefined)) {
          throw usageError('give either --from-position or --from-time');
        }
        const from = fromPosition === undefined ? { fromTime } : { fromPosition };
        const webhook = await client.replayWebhook(id, from);
        out.result(webhook, `${printable(id)} is sent everything again from there on`);
        return ExitCode.ok;
      }),
    );
}
