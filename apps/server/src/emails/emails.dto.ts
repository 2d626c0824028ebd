import type { Direction, EmailFilter, EmailRef, Location } from '#libs/remediation';
import { DIRECTIONS, LOCATIONS } from '#libs/remediation';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  CursorField,
  LowerCase,
  NETWORK_MESSAGE_ID,
  OptionalInstant,
  OptionalOneOf,
  OptionalText,
  PageLimit,
  Text,
} from '../http/fields.js';

/** Filters of the mail catalogue; all hold together, and none matches every email. */
export class EmailFilterDto implements EmailFilter {
  @OptionalText({ max: 320, description: 'Exact address of the sender.', example: 'pay@fabrikam.example' })
  @LowerCase()
  declare sender?: string;

  @OptionalText({ max: 320, description: 'Exact address of the recipient.' })
  @LowerCase()
  declare recipient?: string;

  @OptionalText({ max: 1000, description: 'A part of the subject; case does not matter.' })
  declare subject?: string;

  @OptionalOneOf(DIRECTIONS, 'Which way the message went.')
  declare direction?: Direction;

  @OptionalOneOf(LOCATIONS, "Where the recipient's copy is by now.")
  declare location?: Location;

  @OptionalInstant('Received at or after this instant.')
  declare startTime?: string;

  @OptionalInstant('Received before this instant.')
  declare endTime?: string;

  @OptionalText({ max: 36, description: 'One message.', pattern: NETWORK_MESSAGE_ID })
  @LowerCase()
  declare networkMessageId?: string;

  @OptionalText({ max: 2000, description: 'The Message-ID header, exactly, with its angle brackets.' })
  declare internetMessageId?: string;

  @OptionalText({ max: 40, description: 'The email cluster that Defender put it in, all digits.' })
  declare clusterId?: string;
}

export class EmailSearchDto extends EmailFilterDto {
  @PageLimit(1000, 100)
  declare limit?: number;

  @CursorField()
  declare cursor?: string;
}

export class EmailRefDto implements EmailRef {
  @Text({ max: 36, description: 'The message.', pattern: NETWORK_MESSAGE_ID })
  @LowerCase()
  declare networkMessageId: string;

  @Text({ max: 320, description: 'The recipient.', example: 'sam@fabrikam.example' })
  @LowerCase()
  declare recipientEmailAddress: string;
}

export class RejectionBody {
  @ApiProperty({ description: 'Counted from 1.' })
  declare line: number;

  @ApiProperty()
  declare reason: string;
}

export class ImportReportBody {
  @ApiProperty({ description: 'Lines that told something new.' })
  declare accepted: number;

  @ApiProperty({ description: 'Lines that said what was known.' })
  declare unchanged: number;

  @ApiProperty()
  declare rejected: number;

  @ApiProperty({ type: [RejectionBody], description: 'Every rejected line, up to 100,000 of them.' })
  declare rejections: readonly RejectionBody[];
}

export class EmailBody {
  @ApiProperty()
  declare networkMessageId: string;

  @ApiProperty()
  declare internetMessageId: string;

  @ApiProperty()
  declare recipientEmailAddress: string;

  @ApiProperty()
  declare senderFromAddress: string;

  @ApiProperty()
  declare senderDisplayName: string;

  @ApiProperty()
  declare subject: string;

  @ApiProperty({ enum: DIRECTIONS })
  declare direction: string;

  @ApiProperty({ enum: LOCATIONS, description: 'Where it was delivered.' })
  declare deliveryLocation: string;

  @ApiProperty({
    enum: LOCATIONS,
    description: "Where the recipient's copy is by now, as far as Clawback knows.",
  })
  declare location: string;

  @ApiProperty({ format: 'date-time' })
  declare receivedAt: string;

  @ApiProperty()
  declare threatTypes: string;

  @ApiProperty()
  declare clusterId: string;
}

export class EmailPageBody {
  @ApiProperty({ type: [EmailBody] })
  declare items: readonly EmailBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}

export class TouchBody {
  @ApiProperty()
  declare approvalId: string;

  @ApiProperty()
  declare outcome: string;

  @ApiProperty({ type: String, nullable: true })
  declare reason: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare fromFolder: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare toFolder: string | null;

  @ApiProperty({ format: 'date-time' })
  declare time: string;
}

export class CopyBody {
  @ApiProperty()
  declare mailbox: string;

  @ApiProperty()
  declare isSendersCopy: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'Null: in none of the folders when last looked for.',
  })
  declare folder: string | null;

  @ApiPropertyOptional({ type: String, nullable: true, description: 'The remediation that moved it last.' })
  declare lastMovedBy: string | null;

  @ApiProperty({ type: [TouchBody] })
  declare remediations: readonly TouchBody[];
}

export class EmailDetailBody extends EmailBody {
  @ApiProperty({ type: [CopyBody] })
  declare copies: readonly CopyBody[];
}

const COPY_STATES = ['inMailbox', 'notFound', 'outOfReach'] as const;

export class PanelCopyBody {
  @ApiProperty()
  declare mailbox: string;

  @ApiProperty()
  declare isSendersCopy: boolean;

  @ApiProperty({ type: String, nullable: true })
  declare folder: string | null;

  @ApiProperty({
    enum: COPY_STATES,
    description:
      'notFound: in no folder when last looked for. outOfReach: hard deleted, or in no mailbox here.',
  })
  declare state: (typeof COPY_STATES)[number];

  @ApiProperty({ type: String, nullable: true, description: 'Why it is not in a mailbox.' })
  declare reason: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'The remediation that moved it last.' })
  declare lastMovedBy: string | null;
}

export class TimelineBody {
  @ApiProperty({ format: 'date-time' })
  declare time: string;

  @ApiProperty({ enum: ['delivered', 'remediated'] })
  declare event: 'delivered' | 'remediated';

  @ApiProperty({ enum: ['system', 'admin'] })
  declare source: 'system' | 'admin';

  @ApiProperty()
  declare mailbox: string;

  @ApiProperty()
  declare isSendersCopy: boolean;

  @ApiProperty({ enum: LOCATIONS, nullable: true, description: 'Where it was delivered.' })
  declare location: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare approvalId: string | null;

  @ApiProperty({ type: String, nullable: true, description: 'The name of the remediation.' })
  declare name: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare action: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare submittedBy: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare decidedBy: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare outcome: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare reason: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare fromFolder: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare toFolder: string | null;
}

class PossibilityBody {
  @ApiProperty()
  declare possible: boolean;

  @ApiProperty({
    type: String,
    nullable: true,
    description: 'A code of the catalogue: a reason or an obstacle.',
  })
  declare reason: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare detail: string | null;
}

export class PanelActionBody extends PossibilityBody {
  @ApiProperty()
  declare action: string;

  @ApiProperty({
    type: PossibilityBody,
    nullable: true,
    description:
      "The sender's copy option of the action; null for an undo, which takes along what was moved.",
  })
  declare sendersCopy: PossibilityBody | null;

  @ApiProperty({ type: [String], description: 'For an undo: the remediations that can be undone.' })
  declare undoes: readonly string[];
}

export class EmailPanelBody {
  @ApiProperty({ type: EmailBody })
  declare email: EmailBody;

  @ApiProperty({
    type: [PanelCopyBody],
    description: "The recipient's copy, then the sender's when it is here.",
  })
  declare copies: readonly PanelCopyBody[];

  @ApiProperty({ type: [TimelineBody], description: 'In order of time.' })
  declare timeline: readonly TimelineBody[];

  @ApiProperty({ type: [PanelActionBody] })
  declare actions: readonly PanelActionBody[];
}
