import { describe, expect, it } from '@jest/globals';
import { ROLES as SERVER_ROLES } from '#libs/platform';
import * as domain from '#libs/remediation';
import { DELIVERY_STATES as SERVER_STATES } from '#libs/webhooks';
import {
  ACTIONS,
  DELIVERY_STATES,
  DIRECTIONS,
  LOCATIONS,
  OUTCOMES,
  ROLES,
  SEVERITIES,
  STATUSES,
  SURFACES,
} from './api.js';

describe('the words of the interface', () => {
  it.each([
    ['actions', ACTIONS, domain.ACTIONS],
    ['directions', DIRECTIONS, domain.DIRECTIONS],
    ['locations', LOCATIONS, domain.LOCATIONS],
    ['outcomes', OUTCOMES, domain.OUTCOMES],
    ['severities', SEVERITIES, domain.SEVERITIES],
    ['statuses', STATUSES, domain.STATUSES],
    ['surfaces', SURFACES, domain.SURFACES],
    ['roles', ROLES, SERVER_ROLES],
    ['states of deliveries', DELIVERY_STATES, SERVER_STATES],
  ] as [string, readonly string[], readonly string[]][])(
    'has the %s of the server',
    (_name, ours, theirs) => {
      expect([...ours].sort()).toEqual([...theirs].sort());
    },
  );
});
