import { DELIVERY_STATES, type DeliveryState } from '#libs/webhooks';
import { NOTIFICATION_TYPES } from '#libs/action-center';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMinSize, ArrayUnique, IsArray, IsIn } from 'class-validator';
import {
  CursorField,
  Optional,
  OptionalInstant,
  OptionalOneOf,
  OptionalText,
  PageLimit,
  Text,
} from '../http/fields.js';

const URL_FIELD = {
  max: 2048,
  description:
    'Where to send: https, or http to this machine; nowhere in a private network unless that is configured.',
  example: 'https://soar.fabrikam.example/hooks/clawback',
};
const DESCRIPTION_FIELD = { min: 0, max: 256, description: 'What it is for.' };

/** Nobody wants to be called four times a second who did not ask for it. */
export const DEFAULT_TYPES = NOTIFICATION_TYPES.filter((type) => type !== 'remediation.progress');

const OptionalTypes = (): PropertyDecorator => (target, key) => {
  for (const decorate of [
    ApiPropertyOptional({
      type: [String],
      enum: NOTIFICATION_TYPES,
      description: 'What to send; by default everything but progress.',
    }),
    Optional(),
    IsArray(),
    ArrayMinSize(1),
    ArrayUnique(),
    IsIn(NOTIFICATION_TYPES, { each: true }),
  ]) {
    decorate(target, key);
  }
};

export class WebhookDto {
  @Text(URL_FIELD)
  declare url: string;

  @OptionalTypes()
  declare types?: string[];

  @OptionalText(DESCRIPTION_FIELD)
  declare description?: string;
}

export class WebhookChangeDto {
  @OptionalText(URL_FIELD)
  declare url?: string;

  @OptionalTypes()
  declare types?: string[];

  @OptionalText(DESCRIPTION_FIELD)
  declare description?: string;
}

export class ReplayDto {
  @OptionalText({
    max: 20,
    description: 'Everything from this position on, itself included.',
    pattern: { regex: /^\d{1,20}$/, message: '$property must be a position: up to 20 digits' },
  })
  declare fromPosition?: string;

  @OptionalInstant('Everything that was recorded at or after this instant.')
  declare fromTime?: string;
}

export class WebhookListDto {
  @PageLimit(1000, 100)
  declare limit?: number;

  @CursorField()
  declare cursor?: string;
}

export class DeliveryListDto extends WebhookListDto {
  @OptionalOneOf(DELIVERY_STATES, 'Only deliveries in this state.')
  declare state?: DeliveryState;
}

// What the API answers.

class FailingBody {
  @ApiProperty({ description: 'Of the message that is not taken.' })
  declare position: string;

  @ApiProperty()
  declare attempts: number;

  @ApiProperty({ format: 'date-time' })
  declare since: string;

  @ApiProperty()
  declare error: string;

  @ApiProperty({ type: String, nullable: true, format: 'date-time', description: 'Null: it was given up.' })
  declare nextAttemptAt: string | null;
}

export class WebhookBody {
  @ApiProperty()
  declare webhookId: string;

  @ApiProperty()
  declare url: string;

  @ApiProperty({ type: [String], enum: NOTIFICATION_TYPES })
  declare types: readonly string[];

  @ApiProperty()
  declare description: string;

  @ApiProperty({ enum: ['active', 'paused'] })
  declare status: string;

  @ApiProperty({ type: String, nullable: true, description: 'byHand, gaveUp or gone.' })
  declare pausedBecause: string | null;

  @ApiProperty({ type: String, nullable: true })
  declare pauseDetail: string | null;

  @ApiProperty()
  declare secretVersion: number;

  @ApiProperty()
  declare createdBy: string;

  @ApiProperty({ format: 'date-time' })
  declare createdAt: string;

  @ApiProperty({ type: String, nullable: true, description: 'Position of the last message that was taken.' })
  declare deliveredUpTo: string | null;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare deliveredAt: string | null;

  @ApiProperty({ type: FailingBody, nullable: true })
  declare failing: FailingBody | null;
}

export class WebhookWithSecretBody extends WebhookBody {
  @ApiProperty({ description: 'Verifies the signatures. It is shown this once.' })
  declare secret: string;
}

export class WebhookPageBody {
  @ApiProperty({ type: [WebhookBody] })
  declare items: readonly WebhookBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}

export class PingBody {
  @ApiProperty()
  declare delivered: boolean;

  @ApiProperty({ type: Number, nullable: true })
  declare status: number | null;

  @ApiProperty()
  declare durationMs: number;

  @ApiProperty({ type: String, nullable: true })
  declare error: string | null;
}

class AttemptBody {
  @ApiProperty({ format: 'date-time' })
  declare at: string;

  @ApiProperty({ type: Number, nullable: true })
  declare status: number | null;

  @ApiProperty()
  declare durationMs: number;

  @ApiProperty({ type: String, nullable: true })
  declare error: string | null;
}

export class DeliveryBody {
  @ApiProperty({ description: 'The header webhook-id.' })
  declare messageId: string;

  @ApiProperty()
  declare position: string;

  @ApiProperty({ enum: NOTIFICATION_TYPES })
  declare type: string;

  @ApiProperty()
  declare approvalId: string;

  @ApiProperty({ enum: DELIVERY_STATES })
  declare state: DeliveryState;

  @ApiProperty({ type: String, nullable: true, format: 'date-time' })
  declare nextAttemptAt: string | null;

  @ApiProperty({ description: 'In all; the newest 20 are listed.' })
  declare attempts: number;

  @ApiProperty({ type: [AttemptBody] })
  declare lastAttempts: readonly AttemptBody[];
}

export class DeliveryPageBody {
  @ApiProperty({ type: [DeliveryBody] })
  declare items: readonly DeliveryBody[];

  @ApiProperty({ type: String, nullable: true })
  declare nextCursor: string | null;
}
