import { Ajv2020 } from 'ajv/dist/2020.js';
import { z } from 'zod';

/** What it does not understand of a schema is an error. */
const ajv = new Ajv2020({ strict: true });

/**
 * Tells of JSON whether it fits a schema, much faster than the schema itself does, since it copies nothing; what is wrong
 * only the schema can say. Compiled when first asked, from the schema as JSON Schema: that has no place for what a function
 * decides (`refine`), so a schema with one must not come here.
 * @throws {Error} when first asked: the schema holds something else that JSON Schema cannot say.
 */
export function shapeCheck(schema: z.ZodType): (data: unknown) => boolean {
  let fits: ((data: unknown) => boolean) | undefined;
  return (data) => {
    fits ??= ajv.compile(z.toJSONSchema(schema));
    return fits(data);
  };
}
