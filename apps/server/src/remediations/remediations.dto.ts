import { HISTORY_SORTS, type HistorySort } from '#libs/action-center';
import {
  ACTIONS,
  OUTCOMES,
  REMEDIATION_ACTIONS,
  RETRYABLE,
  SEVERITIES,
  STATUSES,
  SURFACES,
  type Action,
  type CopyName,
  type Outcome,
  type RemediationAction,
  type Retryable,
  type Severity,
  type Status,
  type Surface,
} from '#libs/remediation';
import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayNotEmpty,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsDefined,
  IsIn,
  IsObject,
  ValidateNested,
} from 'class-validator';
import { EmailFilterDto, EmailRefDto } from '../emails/emails.dto.js';
import {
  CursorField,
  LowerCase,
  NETWORK_MESSAGE_ID,
  OneOf,
  Optional,
  OptionalFlag,
  OptionalInstant,
  OptionalListOf,
  OptionalOneOf,
  OptionalText,
  OptionalWhole,
  PageLimit,
  Text,
} from '../http/fields.js';

export const UNKNOWN_ROWS = ['refuse', 'leaveOut'] as const;
export type UnknownRows = (typeof UNKNOWN_ROWS)[number];

export class SelectionDto {
  @OptionalListOf(() => EmailRefDto, 'Emails chosen by hand; else `query`.')
  declare emails?: EmailRefDto[];

  @ApiPropertyOptional({
    type: EmailFilterDto,
    description: 'Everything the filter finds; empty means every email.',
  })
  @Optional()
  @IsObject()
  @ValidateNested()
  @Type(() => EmailFilterDto)
  declare query?: EmailFilterDto;

  @OptionalListOf(() => EmailRefDto, 'Emails left out of the query.')
  declare excluding?: EmailRefDto[];
}

export class RemediationRequestDto {
  @Text({ max: 200, description: 'Shown in the history.', example: 'Payroll phish, wave 2' })
  declare name: string;

  @OptionalText({ min: 0, max: 1024, description: 'Why it is done.' })
  declare description?: string;

  @OneOf(SEVERITIES, 'How bad it is.')
  declare severity: Severity;

  @OneOf(ACTIONS, 'What is done to the copies.')
  declare action: Action;

  @ApiProperty({
    description:
      "With softDelete: delete the sender's copy as well. With moveToInbox: move it back to Sent Items. Only mail sent " +
      'inside the organisation or out of it has a sender whose copy is in scope.',
  })
  @IsBoolean()
  declare sendersCopy: boolean;

  @OneOf(SURFACES, 'Where the request came from.')
  declare surface: Surface;

  @OptionalInstant('Not to begin before then; at most 7 days ahead.')
  declare startAt?: string;

  @OptionalWhole(1, 7 * 24 * 60, 'Nothing more is begun so many minutes after it was queued.')
  declare finishWithinMinutes?: number;

  @OptionalWhole(
    1,
    7 * 24,
    'For so many hours, mail that matches the query and arrives later is remediated too, each time as a remediation of ' +
      'its own. An undo ends it.',
  )
  declare lateArrivalsHours?: number;

  @ApiProperty({ type: SelectionDto })
  @IsDefined()
  @IsObject()
  @ValidateNested()
  @Type(() => SelectionDto)
  declare selection: SelectionDto;
}

/** Parts of the query string: the body is the result of hunting. */
export class HuntingQueryDto extends PickType(RemediationRequestDto, [
  'name',
  'description',
  'severity',
  'action',
]) {
  @OptionalFlag("Delete the sender's copy as well, or move it back; default false.")
  declare sendersCopy?: boolean;

  @OptionalOneOf(
    UNKNOWN_ROWS,
    'What happens to rows that are no email of the catalogue; by default the whole is refused.',
  )
  declare unknownRows?: UnknownRows;
}

export class HuntingBody {
  @ApiProperty({ description: 'Rows of the result.' })
  declare rows: number;

  @ApiProperty({ description: 'Different emails among them that the catalogue has.' })
  declare emails: number;

  @ApiProperty({ description: 'Rows that name an email which an earlier row has named.' })
  declare duplicates: number;

  @ApiProperty({ description: 'Emails that the catalogue does not have, left out on request.' })
  declare leftOut: number;

  @ApiProperty({ type: [Number], description: 'The first 100 of their rows, counted from 1.' })
  declare leftOutRows: readonly number[];
}

export class ApprovalDto {
  @Text({ max: 64, description: 'The selection hash of the proposal that was looked at.' })
  declare selectionHash: string;

  @OptionalWhole(
    1,
    10_000_000,
    'Only the first so many emails of the selection, as a canary; the rest goes on waiting for its decision.',
  )
  declare firstEmails?: number;
}

export class CancellationDto {
  @Text({ max: 1024, description: 'Why it is cancelled.' })
  declare reason: string;
}

export class RetryDto {
  @OptionalText({ max: 200, description: 'Shown in the history; by default the name of what is retried.' })
  declare name?: string;

  @OptionalText({ min: 0, max: 1024, description: 'Why it is done.' })
  declare description?: string;

  @ApiPropertyOptional({
    enum: RETRYABLE,
    isArray: true,
    description: 'Copies with one of these outcomes; default failed and timedOut.',
  })
  @Optional()
  @IsArray()
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsIn(RETRYABLE, { each: true })
  declare outcomes?: Retryable[];
}

export class RejectionDto {
  @Text({ max: 1024, description: 'Why it is rejected.' })
  declare reason: string;
}

export class CopyNameDto implements CopyName {
  @Text({ max: 36, description: 'The message.', pattern: NETWORK_MESSAGE_ID })
  @LowerCase()
  declare networkMessageId: string;

  @Text({ max: 320, description: 'Whose mailbox holds the copy.' })
  @LowerCase()
  declare mailbox: string;

  @ApiProperty()
  @IsBoolean()
  declare isSendersCopy: boolean;
}

export class UndoDto {
  @OptionalText({ max: 200, description: 'Shown in the history; by default the name of what is undone.' })
  declare name?: string;

  @OptionalText({ min: 0, max: 1024, description: 'Why it is done.' })
  declare description?: string;

  @OptionalListOf(
    () => EmailRefDto,
    "Only these emails, with the sender's copies of their messages. Neither list: everything.",
  )
  declare emails?: EmailRefDto[];

  @OptionalListOf(() => CopyNameDto, 'Only these copies.')
  declare copies?: CopyNameDto[];
}

export class HistoryQueryDto {
  @OptionalOneOf(STATUSES, 'Only entries of this status.')
  declare status?: Status;

  @OptionalOneOf(REMEDIATION_ACTIONS, 'Only entries of this action.')
  declare action?: RemediationAction;

  @OptionalOneOf(SURFACES, 'Only entries from this surface.')
  declare surface?: Surface;

  @OptionalText({ max: 200, description: 'A part of the name; case does not matter.' })
  declare name?: string;

  @OptionalText({ max: 64, description: 'Exactly this one.' })
  declare approvalId?: string;

  @OptionalText({ max: 320, description: 'Approved or rejected by.' })
  declare approver?: string;

  @OptionalInstant('Submitted at or after this instant.')
  declare startTime?: string;

  @OptionalInstant('Submitted before this instant.')
  declare endTime?: string;

  @OptionalOneOf(HISTORY_SORTS, 'Sort by; default submittedAt.')
  declare sort?: HistorySort;

  @OptionalOneOf(['asc', 'desc'], 'Direction; default desc.')
  declare order?: 'asc' | 'desc';

  @PageLimit(1000, 50)
  declare limit?: number;

  @CursorField()
  declare cursor?: string;
}

export class LogFilterDto {
  @OptionalOneOf(OUTCOMES, 'Only copies with this outcome.')
  declare outcome?: Outcome;

  @OptionalFlag("Only senders' copies, or only recipients'.")
  declare isSendersCopy?: boolean;

  @OptionalText({ max: 320, description: 'Only the copies in this mailbox.' })
  @LowerCase()
  declare mailbox?: string;
}

export class LogQueryDto extends LogFilterDto {
  @PageLimit(1000, 100)
  declare limit?: number;

  @CursorField()
  declare cursor?: string;
}

export class EventsQueryDto {
  @PageLimit(1000, 100)
  declare limit?: number;

  @CursorField()
  declare cursor?: string;
}

// What the API answers.

export class PlanBody {
  @ApiProperty({ description: 'Emails selected: messages, one for each recipient.' })
  declare emails: number;

  @ApiProperty({ description: 'recipientCopies + sendersCopies, and remediable + nonRemediable.' })
  declare copies: number;

  @ApiProperty()
  declare recipientCopies: number;

  @ApiProperty()
  declare sendersCopies: number;

  @ApiProperty()
  declare remediable: number;

  @ApiProperty()
  declare nonRemediable: number;

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'integer' },
    description: 'How many copies are not remediable, by reason.',
  })
  declare reasons: Readonly<Record<string, number>>;
}

export class PreviewBody {
  @ApiProperty()
  declare selectionHash: string;

  @ApiProperty({ type: PlanBody })
  declare plan: PlanBody;

  @ApiProperty({ description: 'Whether what it does can be undone; a hard delete cannot.' })
  declare undoable: boolean;
}

export class SubmittedBody extends PreviewBody {
  @ApiProperty()
  declare approvalId: string;

  @ApiProperty({
    enum: ['pending', 'started'],
    description: 'pending: waits for an approver. started: approved.',
  })
  declare status: string;

  @ApiPropertyOptional({ type: String, nullable: true, description: 'For an undo: what it undoes.' })
  declare undoOf: string | null;

  @ApiPropertyOptional({ type: String, nullable: true, description: 'For a retry: what it retries.' })
  declare retryOf: string | null;
}

class OutcomeCountsBody {
  @ApiProperty({ description: 'The sum of all others, at every instant.' })
  declare submitted: number;

  @ApiProperty()
  declare pending: number;

  @ApiProperty()
  declare succeeded: number;

  @ApiProperty()
  declare alreadyInDestination: number;

  @ApiProperty()
  declare notFound: number;

  @ApiProperty()
  declare nonRemediable: number;

  @ApiProperty()
  declare failed: number;

  @ApiProperty()
  declare timedOut: number;

  @ApiProperty()
  declare cancelled: number;
}

export class HuntingPreviewBody extends PreviewBody {
  @ApiProperty({ type: HuntingBody })
  declare hunting: HuntingBody;
}

export class HuntingSubmittedBody extends SubmittedBody {
  @ApiProperty({ type: HuntingBody })
  declare hunting: HuntingBody;
}

export class CountsBody extends OutcomeCountsBody {
  @ApiProperty({ type: OutcomeCountsBody })
  declare recipientCopies: OutcomeCountsBody;

  @ApiProperty({ type: OutcomeCountsBody })
  declare sendersCopies: OutcomeCountsBody;
}

export class EntryBody {
  @ApiProperty()
  declare approvalId: string;

  @ApiProperty()
  declare name: string;

  @ApiProperty()
  declare description: string;

  @ApiProperty({ enum: SEVERITIES })
  declare severity: string;

  @ApiProperty({ enum: REMEDIATION_ACTIONS })
  declare action: string;

  @ApiProperty()
  declare sendersCopy: boolean;

  @ApiProperty({ enum: SURFACES })
  declare surface: string;

  @ApiProperty({ enum: STATUSES })
  declare status: string;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'How the emails were selected.' })
  declare selection: object;

  @ApiProperty()
  declare selectionHash: string;

  @ApiProperty({ type: PlanBody })
  declare plan: PlanBody;

  @ApiProperty({ type: CountsBody })
  declare counts: CountsBody;

  @ApiProperty()
  declare submittedBy: string;

  @ApiProperty({ format: 'date-time' })
  declare submittedAt: string;

  @ApiProperty({ type: String, nullable: true, description: 'Who approved or rejected it.' })
  declare decidedBy: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare decidedAt: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare rejectionReason: string | null;

  @ApiProperty({ description: 'Whether somebody else than the submitter has to approve it, by policy.' })
  declare fourEyes: boolean;

  @ApiProperty({ type: String, nullable: true, format: 'date-time', description: 'A proposal is over then.' })
  declare expiresAt: string | null;

  @ApiProperty({
    type: Number,
    nullable: true,
    description: 'How many emails were approved before the rest, as a canary.',
  })
  declare firstEmails: number | null;

  @ApiProperty({ type: String, nullable: true, description: 'Who has asked to cancel it.' })
  declare cancelRequestedBy: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare cancelRequestedAt: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare cancelReason: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'date-time',
    description: 'It does not begin before.',
  })
  declare startAt: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare queuedAt: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time', description: 'Nothing is begun after.' })
  declare deadline: string | null;

  @ApiProperty({ description: 'Whether it ran out of time: copies not begun by then are timedOut.' })
  declare overdue: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    format: 'date-time',
    description: 'Until when mail that arrives later is remediated too; null once that has been ended.',
  })
  declare lateArrivalsUntil: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare startedAt: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare finishedAt: string | null;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'The approval ID of the remediation that this one undoes.',
  })
  declare undoOf: string | null;

  @ApiProperty({ type: [String], description: 'Approval IDs of the undos of this one.' })
  declare undoneBy: readonly string[];

  @ApiProperty({ type: String, nullable: true, description: 'The remediation that this one retries.' })
  declare retryOf: string | null;

  @ApiProperty({ type: [String], description: 'Approval IDs of the retries of this one.' })
  declare retriedBy: readonly string[];

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'The remediation whose late arrivals this one is about.',
  })
  declare lateArrivalOf: string | null;

  @ApiProperty({
    type: [String],
    description: 'Approval IDs of the remediations of mail that arrived later.',
  })
  declare lateArrivals: readonly string[];

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'Where to go from here.',
  })
  declare links: Readonly<Record<string, string>>;
}

export class HistoryPageBody {
  @ApiProperty({ type: [EntryBody] })
  declare items: readonly EntryBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}

export class LogRowBody {
  @ApiProperty()
  declare approvalId: string;

  @ApiProperty()
  declare networkMessageId: string;

  @ApiProperty()
  declare internetMessageId: string;

  @ApiProperty()
  declare subject: string;

  @ApiProperty()
  declare sender: string;

  @ApiProperty()
  declare direction: string;

  @ApiProperty({ format: 'date-time' })
  declare receivedAt: string;

  @ApiProperty({ description: 'Whose mailbox holds the copy.' })
  declare mailbox: string;

  @ApiProperty()
  declare isSendersCopy: boolean;

  @ApiProperty({ enum: REMEDIATION_ACTIONS })
  declare action: string;

  @ApiProperty({ enum: OUTCOMES })
  declare outcome: string;

  @ApiProperty({ type: String, nullable: true })
  declare reason: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare detail: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare fromFolder: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare toFolder: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare time: string | null;
}

export class LogPageBody {
  @ApiProperty({ type: [LogRowBody] })
  declare items: readonly LogRowBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}

export class EventBody {
  @ApiProperty()
  declare id: string;

  @ApiProperty()
  declare type: string;

  @ApiProperty()
  declare stream: string;

  @ApiProperty({ description: '64 bits, as text.' })
  declare revision: string;

  @ApiProperty({ description: '64 bits, as text.' })
  declare position: string;

  @ApiProperty({ type: 'object', additionalProperties: true })
  declare data: unknown;

  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' } })
  declare metadata: Readonly<Record<string, string>>;
}

export class EventPageBody {
  @ApiProperty({ type: [EventBody] })
  declare items: readonly EventBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}
