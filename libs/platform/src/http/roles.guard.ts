import {
  type CanActivate,
  createParamDecorator,
  type CustomDecorator,
  type ExecutionContext,
  Inject,
  Injectable,
  type OnModuleInit,
  SetMetadata,
} from '@nestjs/common';
import { PATH_METADATA } from '@nestjs/common/internal';
import { MetadataScanner, ModulesContainer, Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { ClawbackError } from '#libs/kernel';
import { bearerToken, type Principal, type Role, TokenVerifier, withAppRoles } from '../tokens.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; set by {@link RolesGuard} on every route that is not public. */
    principal?: Principal;
  }
}

type Access = 'public' | readonly Role[];

const ACCESS = 'clawback:access';
const TAKES_APP_ROLES = 'clawback:appRoles';

/** On the routes of this controller the application roles of Microsoft Graph count as well. */
export const TakesAppRoles = (): CustomDecorator => SetMetadata(TAKES_APP_ROLES, true);

/** Opens a route, or all routes of a controller, to callers with one of these roles. Admins may call every route. */
export const Roles = (...roles: readonly [Role, ...Role[]]): CustomDecorator => SetMetadata(ACCESS, roles);

/** Opens a route, or all routes of a controller, to everyone, without a token. */
export const Public = (): CustomDecorator => SetMetadata(ACCESS, 'public');

/** The {@link Principal} who calls, as a parameter of a route handler that is not public. */
export const Caller = createParamDecorator((_data: unknown, context: ExecutionContext): Principal => {
  const { principal } = requestOf(context);
  if (principal === undefined) throw new Error('a public route has no caller');
  return principal;
});

/**
 * The global guard: no route without {@link Roles} or {@link Public} (the handler's wins over the controller's) starts
 * or answers. Register it as `APP_GUARD`; it needs a provider of {@link TokenVerifier}.
 */
@Injectable()
export class RolesGuard implements CanActivate, OnModuleInit {
  constructor(
    @Inject(Reflector) private readonly reflector: Reflector,
    @Inject(TokenVerifier) private readonly verifier: TokenVerifier,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {}

  /** @throws Error that lists the routes without an access rule: the boot stops. */
  onModuleInit(): void {
    const open = [...this.handlers()].filter(({ targets }) => this.accessOf(targets) === undefined);
    if (open.length > 0) {
      throw new Error(`routes without @Roles or @Public: ${open.map(({ name }) => name).join(', ')}`);
    }
  }

  /**
   * @throws ClawbackError 'unauthenticated' as {@link bearerToken} and {@link TokenVerifier.verify} say; 'forbidden'
   * `roleMissing`, with the roles that would do.
   */
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const access = this.accessOf([context.getHandler(), context.getClass()]);
    if (access === 'public') return true;
    if (access === undefined)
      throw new ClawbackError('forbidden', 'routeClosed', 'this route is open to no one');
    const request = requestOf(context);
    const caller = await this.verifier.verify(bearerToken(request.headers.authorization));
    const takesAppRoles = this.reflector.get<boolean | undefined>(TAKES_APP_ROLES, context.getClass());
    const principal = takesAppRoles === true ? withAppRoles(caller) : caller;
    requireRole(principal, access);
    request.principal = principal;
    return true;
  }

  private accessOf(targets: readonly Target[]): Access | undefined {
    return this.reflector.getAllAndOverride<Access | undefined>(ACCESS, [...targets]);
  }

  private *handlers(): Generator<{ name: string; targets: readonly Target[] }> {
    const scanner = new MetadataScanner();
    for (const module of this.modules.values()) {
      for (const { metatype } of module.controllers.values()) {
        if (typeof metatype !== 'function') continue;
        const prototype = metatype.prototype as Record<string, Target>;
        for (const method of scanner.getAllMethodNames(prototype)) {
          const handler = prototype[method];
          if (handler === undefined || !Reflect.hasMetadata(PATH_METADATA, handler)) continue;
          yield { name: `${metatype.name}.${method}`, targets: [handler, metatype] };
        }
      }
    }
  }
}

type Target = Parameters<Reflector['getAllAndOverride']>[1][number];

const requestOf = (context: ExecutionContext): FastifyRequest =>
  context.switchToHttp().getRequest<FastifyRequest>();

function requireRole({ roles }: Principal, needed: readonly Role[]): void {
  if (roles.some((role) => role === 'admin' || needed.includes(role))) return;
  throw new ClawbackError('forbidden', 'roleMissing', `this needs the role ${needed.join(' or ')}`, {
    needed,
  });
}
