import { OptionalText } from '../http/fields.js';

export class LiveQueryDto {
  @OptionalText({
    max: 20,
    description: 'Everything after this id of an event; the header `Last-Event-ID` goes first.',
    pattern: { regex: /^\d{1,20}$/, message: '$property must be the id of an event' },
  })
  declare after?: string;
}
