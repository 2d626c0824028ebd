import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, type Type } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { generateKeyPair } from 'jose';
import type { LocalKey } from '../local-key.js';
import { createLogger } from '../logging.js';
import {
  LocalTokenVerifier,
  type Principal,
  type Role,
  ROLES,
  signLocalToken,
  TokenVerifier,
} from '../tokens.js';
import { ProblemFilter } from './problem.filter.js';
import { Caller, Public, Roles, RolesGuard } from './roles.guard.js';

@Controller()
class OpenToSome {
  @Get('viewer')
  @Roles('viewer')
  viewer(@Caller() caller: Principal): Principal {
    return caller;
  }

  @Get('deciders')
  @Roles('proposer', 'approver')
  deciders(): string {
    return 'decided';
  }

  @Get('admin')
  @Roles('admin')
  admin(): string {
    return 'done';
  }

  @Get('health')
  @Public()
  health(): string {
    return 'well';
  }

  @Get('nobody')
  @Public()
  nobody(@Caller() caller: Principal): string {
    return caller.subject;
  }
}

@Controller('audit')
@Roles('auditor')
class OpenToAuditors {
  @Get('log')
  log(): string {
    return 'log';
  }

  @Get('ingest')
  @Roles('ingest')
  ingest(): string {
    return 'ingested';
  }

  @Get('about')
  @Public()
  about(): string {
    return 'about';
  }
}

@Controller('forgotten')
class Forgotten {
  @Get()
  secrets(): string {
    return 'secrets';
  }

  /** Not a route, so it needs no rule. */
  helper(): string {
    return 'help';
  }
}

const openTo: Readonly<Record<string, readonly Role[]>> = {
  viewer: ['viewer', 'admin'],
  deciders: ['proposer', 'approver', 'admin'],
  admin: ['admin'],
  'audit/log': ['auditor', 'admin'],
  'audit/ingest': ['ingest', 'admin'],
};

const quiet = createLogger({ log: { level: 'silent' } });

const create = async (key: LocalKey, controllers: Type[], guard: Type = RolesGuard) => {
  const providers = [
    { provide: TokenVerifier, useValue: new LocalTokenVerifier(key) },
    { provide: APP_GUARD, useClass: guard },
    { provide: APP_FILTER, useClass: ProblemFilter },
  ];
  const module = await Test.createTestingModule({ controllers, providers }).setLogger(quiet).compile();
  return module.createNestApplication<NestFastifyApplication>(new FastifyAdapter());
};

describe('RolesGuard', () => {
  let key: LocalKey;
  let app: NestFastifyApplication;
  let url: string;
  beforeAll(async () => {
    key = { id: 'test', ...(await generateKeyPair('EdDSA')) };
    app = await create(key, [OpenToSome, OpenToAuditors]);
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterAll(() => app.close());

  const call = (path: string, token?: string) =>
    fetch(`${url}/${path}`, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
  const tokenFor = (...roles: Role[]) => signLocalToken(key, { subject: 'kim', roles, tenant: 'contoso' });

  it.each(ROLES.flatMap((role) => Object.keys(openTo).map((route) => ({ role, route }))))(
    'lets $role call $route exactly when it is open to that role',
    async ({ role, route }) => {
      const { status } = await call(route, await tokenFor(role));
      expect(status).toBe(openTo[route]?.includes(role) ? 200 : 403);
    },
  );

  it('names the roles that would do', async () => {
    const answer = await call('deciders', await tokenFor('viewer', 'auditor'));
    expect(await answer.json()).toMatchObject({ code: 'roleMissing', needed: ['proposer', 'approver'] });
  });

  it('gives the handler its caller', async () => {
    const answer = await call('viewer', await tokenFor('viewer', 'ingest'));
    expect(await answer.json()).toEqual({ subject: 'kim', tenant: 'contoso', roles: ['viewer', 'ingest'] });
  });

  it('needs no token for public routes, and looks at none', async () => {
    for (const path of ['health', 'audit/about']) {
      expect((await call(path)).status).toBe(200);
      expect((await call(path, 'nonsense')).status).toBe(200);
    }
  });

  it('fails a public route that asks for its caller', async () => {
    expect((await call('nobody')).status).toBe(500);
  });

  it.each(Object.keys(openTo))('asks for a token at %s', async (route) => {
    const missing = await call(route);
    expect(missing.status).toBe(401);
    expect(missing.headers.get('www-authenticate')).toBe('Bearer');
    expect(await missing.json()).toMatchObject({ code: 'tokenMissing', status: 401 });

    const forged = await call(route, 'e30.e30.e30');
    expect(forged.status).toBe(401);
    expect(forged.headers.get('www-authenticate')).toMatch(
      /^Bearer error="invalid_token", error_description="[^"]+"$/,
    );
    expect(await forged.json()).toMatchObject({ code: 'tokenMalformed' });
  });

  it('refuses a route without a rule at boot, and names it', async () => {
    const careless = await create(key, [OpenToSome, Forgotten]);
    await expect(careless.init()).rejects.toThrow(/: Forgotten\.secrets$/);
    await careless.close();
  });

  it('refuses a route without a rule at the call as well', async () => {
    class Unchecked extends RolesGuard {
      override onModuleInit(): void {
        expect(() => {
          super.onModuleInit();
        }).toThrow('Forgotten.secrets');
      }
    }
    const careless = await create(key, [Forgotten], Unchecked);
    try {
      await careless.listen(0, '127.0.0.1');
      const authorization = `Bearer ${await tokenFor('admin')}`;
      const answer = await fetch(`${await careless.getUrl()}/forgotten`, { headers: { authorization } });
      expect(answer.status).toBe(403);
      expect(await answer.json()).toMatchObject({ code: 'routeClosed' });
    } finally {
      await careless.close();
    }
  });
});
