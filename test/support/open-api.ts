import { expect } from '@jest/globals';
import { isGraphUrl } from '../../apps/server/src/graph/paths.js';
import { expectProblem, type Answer } from './server.js';

export type Method = 'get' | 'put' | 'post' | 'delete' | 'patch';

export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly allOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

export interface Operation {
  readonly operationId: string;
  readonly summary?: string;
  readonly security?: readonly object[];
  readonly parameters?: readonly { name: string; in: string; schema: Schema; required?: boolean }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, object>>;
}

/** The document that the server serves, as far as tests look at it. */
export interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<Method, Operation>>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
}

export interface Route {
  /** `<method> <path>` as the document has them. */
  readonly route: string;
  readonly method: Method;
  readonly path: string;
  readonly operation: Operation;
}

export const routesOf = ({ paths }: OpenApi): Route[] =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      route: `${method} ${path}`,
      method: method as Method,
      path,
      operation,
    })),
  );

/** A refusal, in the shape of the interface that the route belongs to. */
export function expectRefusal(
  path: string,
  answer: Answer,
  status: number,
  code: string,
  says?: RegExp,
): void {
  if (!isGraphUrl(path)) {
    expectProblem(answer, status, code, says);
    return;
  }
  expect({ status: answer.status, body: answer.body }).toMatchObject({
    status,
    body: {
      error: {
        code: expect.stringMatching(/./),
        message: expect.stringMatching(says ?? /./),
        innerError: { code, 'request-id': answer.headers.get('request-id') },
      },
    },
  });
}
