import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  IsBoolean,
  IsIn,
  IsInt,
  IsISO8601,
  IsOptional,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
} from 'class-validator';

/** Field decorators that say one thing once: to the validation and to the OpenAPI document. */

interface TextOptions {
  readonly max: number;
  readonly min?: number;
  readonly description: string;
  readonly example?: string;
  readonly pattern?: { readonly regex: RegExp; readonly message: string };
}

const text = ({ max, min = 1, pattern }: TextOptions): PropertyDecorator[] => [
  IsString(),
  MinLength(min),
  MaxLength(max),
  ...(pattern === undefined ? [] : [Matches(pattern.regex, { message: pattern.message })]),
];

const shown = ({ max, min = 1, description, example }: TextOptions): object => ({
  type: String,
  description,
  minLength: min,
  maxLength: max,
  ...(example === undefined ? {} : { example }),
});

export const Text = (options: TextOptions): PropertyDecorator =>
  applyDecorators(ApiProperty(shown(options)), ...text(options));

export const OptionalText = (options: TextOptions): PropertyDecorator =>
  applyDecorators(ApiPropertyOptional(shown(options)), IsOptional(), ...text(options));

export const OneOf = (values: readonly string[], description: string): PropertyDecorator =>
  applyDecorators(ApiProperty({ enum: values, description }), IsIn(values));

export const OptionalOneOf = (values: readonly string[], description: string): PropertyDecorator =>
  applyDecorators(ApiPropertyOptional({ enum: values, description }), IsOptional(), IsIn(values));

/** An instant; what is stored and compared is ISO 8601 in UTC with milliseconds. */
export const OptionalInstant = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: String, format: 'date-time', description, example: '2026-11-02T00:00:00Z' }),
    IsOptional(),
    Transform(({ value }: { value: unknown }) => instantOf(value)),
    IsISO8601({ strict: true }, { message: '$property must be a date or a time in ISO 8601' }),
  );

/** Dates and times are stored in UTC with milliseconds, so that text order is time order. What is no time stays as it is. */
const instantOf = (value: unknown): unknown => {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}/.test(value)) return value;
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? value : time.toISOString();
};

/** `true` or `false` in a query string. */
export const OptionalFlag = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: Boolean, description }),
    IsOptional(),
    Transform(({ value }: { value: unknown }) =>
      value === 'true' ? true : value === 'false' ? false : value,
    ),
    IsBoolean({ message: '$property must be true or false' }),
  );

export const PageLimit = (max: number, byDefault: number): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: Number,
      minimum: 1,
      maximum: max,
      default: byDefault,
      description: 'Items a page.',
    }),
    IsOptional(),
    Type(() => Number),
    IsInt(),
    Min(1),
    Max(max),
  );

export const CursorField = (): PropertyDecorator =>
  OptionalText({ max: 2048, description: 'The `nextCursor` of the page before, with the same filters.' });

export const LowerCase = (): PropertyDecorator =>
  Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value));

export const NETWORK_MESSAGE_ID = {
  regex: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  message: '$property must be a network message id (a GUID)',
};
