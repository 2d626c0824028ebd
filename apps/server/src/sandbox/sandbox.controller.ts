import { invalidInput } from '#libs/kernel';
import { Caller, Roles, type Principal } from '#libs/platform';
import { Sandbox, parseFault, type MailboxFault } from '#libs/mailbox/sandbox';
import { Body, Controller, Delete, Get, HttpCode, Param, Put } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { STORABLE } from '../http/fields.js';

/** The schema of a fault of this kind. */
const faultOf = (
  kind: string,
  properties: Readonly<Record<string, { type: string }>>,
  optional: string[] = [],
) => ({
  type: 'object',
  required: ['kind', ...Object.keys(properties).filter((name) => !optional.includes(name))],
  properties: { kind: { type: 'string', enum: [kind] }, ...properties },
});

const FAULT = {
  oneOf: [
    faultOf('missingMailbox', {}),
    faultOf('movedByUser', { folder: { type: 'string' } }),
    faultOf('deletedByUser', {}),
    faultOf(
      'error',
      {
        code: { type: 'string' },
        retryable: { type: 'boolean' },
        times: { type: 'integer' },
        retryAfterMs: { type: 'integer' },
      },
      ['times', 'retryAfterMs'],
    ),
    faultOf('hang', { times: { type: 'integer' } }, ['times']),
    faultOf('slow', { delayMs: { type: 'integer' } }),
  ],
};

/** Faults of the sandbox tenant's mailboxes, to see how a remediation copes with them. */
@ApiTags('sandbox')
@ApiBearerAuth()
@Controller('v1/sandbox/faults')
export class SandboxController {
  constructor(private readonly sandbox: Sandbox) {}

  @Get()
  @Roles('admin')
  @ApiOperation({ summary: 'The faults that are set' })
  async list(@Caller() { tenant }: Principal): Promise<{ items: readonly MailboxFault[] }> {
    return { items: await this.sandbox.faults(tenant) };
  }

  @Put(':mailbox')
  @Roles('admin')
  @ApiOperation({
    summary: 'Make a mailbox faulty',
    description:
      'kind: missingMailbox, movedByUser (folder), deletedByUser, error (code, retryable, times?, retryAfterMs?), ' +
      'hang (times?), slow (delayMs).',
  })
  @ApiBody({ schema: FAULT })
  async set(
    @Param('mailbox') mailbox: string,
    @Body() body: Record<string, unknown>,
    @Caller() { tenant }: Principal,
  ): Promise<MailboxFault> {
    const address = addressOf(mailbox);
    const fault = parseFault(body);
    await this.sandbox.setFault(tenant, address, fault);
    return { mailbox: address, fault };
  }

  @Delete(':mailbox')
  @HttpCode(204)
  @Roles('admin')
  @ApiOperation({ summary: 'End the fault of a mailbox' })
  async clear(@Param('mailbox') mailbox: string, @Caller() { tenant }: Principal): Promise<void> {
    await this.sandbox.clearFault(tenant, addressOf(mailbox));
  }
}

function addressOf(mailbox: string): string {
  if (mailbox.length <= 320 && STORABLE.test(mailbox)) return mailbox.toLowerCase();
  throw invalidInput([{ field: 'mailbox', problem: 'must be at most 320 characters without NUL' }]);
}
