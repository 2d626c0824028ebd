import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsISO8601,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateIf,
  ValidateNested,
} from 'class-validator';

/** Field decorators that say one thing once: to the validation and to the OpenAPI document. */

/** The field may be left out. Null is no way to do so: the document says no such thing, and no code expects it. */
export const Optional = (): PropertyDecorator => ValidateIf((_body, value) => value !== undefined);

interface TextOptions {
  readonly max: number;
  readonly min?: number;
  readonly description: string;
  readonly example?: string;
  readonly pattern?: { readonly regex: RegExp; readonly message: string };
}

/** No store keeps these two as they are: NUL ends a text for some, and a lone surrogate has no UTF-8. */
export const STORABLE = /^[^\0\p{Surrogate}]*$/u;

const text = ({ max, min = 1, pattern }: TextOptions): PropertyDecorator[] => [
  IsString(),
  MinLength(min),
  MaxLength(max),
  Storable(),
  ...(pattern === undefined ? [] : [Matches(pattern.regex, { message: pattern.message })]),
];

const Storable = (): PropertyDecorator =>
  Matches(STORABLE, { message: '$property must be of whole characters without NUL' });

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
  applyDecorators(ApiPropertyOptional(shown(options)), Optional(), ...text(options));

/** A list of objects of one class. */
export const OptionalListOf = (type: () => new () => object, description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: [type()], description }),
    Optional(),
    IsArray(),
    // A list in the list would pass as objects.
    IsObject({ each: true }),
    ValidateNested({ each: true }),
    Type(type),
  );

export const OneOf = (values: readonly string[], description: string): PropertyDecorator =>
  applyDecorators(ApiProperty({ enum: values, description }), IsIn(values));

export const OptionalOneOf = (values: readonly string[], description: string): PropertyDecorator =>
  applyDecorators(ApiPropertyOptional({ enum: values, description }), Optional(), IsIn(values));

/** An instant; what is stored and compared is ISO 8601 in UTC with milliseconds. */
export const OptionalInstant = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: String, format: 'date-time', description, example: '2026-11-02T00:00:00Z' }),
    Optional(),
    Transform(({ value }: { value: unknown }) => instantOf(value)),
    IsISO8601({ strict: true }, { message: '$property must be a date or a time in ISO 8601' }),
  );

/** Dates and times are stored in UTC with milliseconds, so that text order is time order. What is no time stays as it is. */
const instantOf = (value: unknown): unknown => {
  const [day] = (typeof value === 'string' && /^\d{4}-\d{2}-\d{2}/.exec(value)) || [];
  if (day === undefined || !isDay(day)) return value;
  const time = new Date(value as string);
  return Number.isNaN(time.getTime()) ? value : time.toISOString();
};

/** `Date` takes 30 February for 2 March. */
const isDay = (day: string): boolean => {
  const midnight = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
};

/** `true` or `false` in a query string. */
export const OptionalFlag = (description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: Boolean, description }),
    Optional(),
    Transform(({ value }: { value: unknown }) =>
      value === 'true' ? true : value === 'false' ? false : value,
    ),
    IsBoolean({ message: '$property must be true or false' }),
  );

/** A whole number in a body. */
export const OptionalWhole = (min: number, max: number, description: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: 'integer', minimum: min, maximum: max, description }),
    Optional(),
    IsInt(),
    Min(min),
    Max(max),
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
    Optional(),
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
