import { beforeAll, describe, expect, it } from '@jest/globals';
import type { ValidationPipe } from '@nestjs/common';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsEmail,
  IsEnum,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  ValidateNested,
} from 'class-validator';
import { type FieldProblem, isClawbackError } from '#libs/kernel';
import { validationPipe } from './validation.js';

enum Action {
  softDelete = 'softDelete',
  moveToInbox = 'moveToInbox',
}

class Email {
  @IsString()
  @Length(1, 64)
  networkMessageId!: string;

  @IsEmail()
  recipientEmailAddress!: string;
}

class Selection {
  @IsArray()
  @ArrayMaxSize(1000)
  @ValidateNested({ each: true })
  @Type(() => Email)
  emails!: Email[];
}

class Submit {
  @IsEnum(Action)
  action!: Action;

  @IsOptional()
  @IsIn(['inbound', 'outbound'], { each: true })
  directions?: string[];

  @IsOptional()
  @IsInt()
  @Type(() => Number)
  priority?: number;

  @ValidateNested()
  @Type(() => Selection)
  selection!: Selection;
}

const email = { networkMessageId: 'a1', recipientEmailAddress: 'kim@contoso.example' };
const good = { action: 'softDelete', priority: '3', selection: { emails: [email] } };

describe('validationPipe', () => {
  let pipe: ValidationPipe;
  beforeAll(() => {
    pipe = validationPipe();
  });
  const check = (body: unknown): Promise<unknown> => pipe.transform(body, { type: 'body', metatype: Submit });
  const problems = async (body: unknown): Promise<FieldProblem[]> => {
    try {
      await check(body);
    } catch (error) {
      if (!isClawbackError(error)) throw error;
      expect(error).toMatchObject({ kind: 'invalid', code: 'invalidInput' });
      return error.details['errors'] as FieldProblem[];
    }
    throw new Error('the input was accepted');
  };

  it('gives instances of the DTO', async () => {
    const submit = (await check(good)) as Submit;
    expect(submit).toBeInstanceOf(Submit);
    expect(submit.selection.emails[0]).toBeInstanceOf(Email);
    expect(submit.priority).toBe(3);
  });

  it('names the full path of a field', async () => {
    const emails = [email, email, email, { ...email, networkMessageId: 7 }];
    const found = await problems({ ...good, selection: { emails } });
    expect(found).toContainEqual({
      field: 'selection.emails[3].networkMessageId',
      problem: 'must be a string',
    });
    expect(new Set(found.map(({ field }) => field))).toEqual(
      new Set(['selection.emails[3].networkMessageId']),
    );
  });

  it('lists the values that are allowed', async () => {
    expect(await problems({ ...good, action: 'obliterate', directions: ['sideways'] })).toEqual([
      { field: 'action', problem: 'must be one of softDelete, moveToInbox' },
      { field: 'directions', problem: 'each value must be one of inbound, outbound' },
    ]);
  });

  it('names unknown fields at every depth', async () => {
    const emails = [{ ...email, sender: 'x' }];
    expect(await problems({ ...good, dryrun: true, selection: { emails } })).toEqual([
      { field: 'dryrun', problem: 'unknown field' },
      { field: 'selection.emails[0].sender', problem: 'unknown field' },
    ]);
  });

  it('wants objects where objects belong', async () => {
    expect(await problems({ ...good, selection: 'all' })).toEqual([
      { field: 'selection', problem: 'must be an object' },
    ]);
    expect(await problems({ ...good, selection: { emails: ['a1'] } })).toEqual([
      { field: 'selection.emails[0]', problem: 'must be an object' },
    ]);
  });

  it.each([null, undefined, [], [good], 'text', 5, {}])('refuses %j as a body', async (body) => {
    expect((await problems(body)).length).toBeGreaterThan(0);
  });

  it('never repeats a value', async () => {
    const found = await problems({
      ...good,
      action: 'hunter2',
      selection: { emails: [{ networkMessageId: 'hunter2'.repeat(20) }] },
    });
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });

  it('stops after 100 problems and shortens names without end', async () => {
    const emails = Array.from({ length: 500 }, () => ({}));
    const found = await problems({ ['x'.repeat(5000)]: 1, ...good, selection: { emails } });
    expect(found).toHaveLength(101);
    expect(found.at(-1)).toEqual({ field: '...', problem: 'more problems follow' });
    expect(JSON.stringify(found).length).toBeLessThan(20_000);
  });
});
