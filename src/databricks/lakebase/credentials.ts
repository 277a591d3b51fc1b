/**
 * Database credentials: the short-lived tokens that a Lakebase takes as a password. The two APIs
 * name their fields differently; both come out as a token and the moment it ends.
 */

import { randomUUID } from 'node:crypto'

import { z } from 'zod'

import type { Clock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { jwtExpiry } from '../sign-in/jwt.js'
import { POSTGRES } from './autoscaling.js'
import type { ApiReply, WorkspaceClient } from './client.js'
import type { DatabaseCredential, LakebaseDatabase, MintOptions } from './workspace.js'

const CredentialReply = z.object({
  token: z.string().min(1),
  expiration_time: z.string().nullish(),
  expire_time: z.string().nullish(),
})
type CredentialReply = z.infer<typeof CredentialReply>

/** Below the hour that tokens are known to live, for replies that say nothing at all. */
const ASSUMED_LIFE_MS = 50 * 60_000

/** Errors: `identity` (401, 403), `target` (404), else `credential`. */
export async function mintCredential(
  client: WorkspaceClient,
  clock: Clock,
  database: LakebaseDatabase,
  options: MintOptions,
): Promise<DatabaseCredential> {
  const reply = await client.exchange({
    method: 'POST',
    path:
      database.kind === 'provisioned' ? '/api/2.0/database/credentials' : `${POSTGRES}/credentials`,
    body: requestBody(database, options),
    schema: CredentialReply,
    what: `mint a database credential for "${database.name}"`,
  })
  const lifeMs = lifeOf(reply, clock)
  if (lifeMs <= 0) {
    throw new ProxyError(
      'credential',
      `${client.host} minted a credential that has already expired`,
      {
        detail: `It ended ${Math.round(-lifeMs / 1000)} s before it came.`,
        hint: "Check this machine's clock, then try again.",
      },
    )
  }
  return { token: new Secret(reply.value.token), expiresAt: clock.now() + lifeMs }
}

function requestBody(database: LakebaseDatabase, options: MintOptions): Record<string, unknown> {
  const { ttlMs, group } = options
  if (database.kind === 'autoscaling') {
    return {
      endpoint: database.name,
      // Recent fields, left out of the JSON unless they are asked for.
      ttl: ttlMs === undefined ? undefined : `${Math.round(ttlMs / 1000)}s`,
      group_name: group,
    }
  }
  if (group !== undefined) {
    throw new ProxyError('config', `cannot log in as group "${group}" to "${database.name}"`, {
      detail: 'Provisioned instances mint credentials for the signed-in identity only.',
      hint: 'Leave out --group, or use an Autoscaling endpoint.',
    })
  }
  return { request_id: randomUUID(), instance_names: [database.name] }
}

/** By the reply's own Date where there is one, so that a wrong local clock does no harm. */
function lifeOf({ value, serverTime }: ApiReply<CredentialReply>, clock: Clock): number {
  const stated = Date.parse(value.expire_time ?? value.expiration_time ?? '')
  const expiresAt = Number.isNaN(stated) ? jwtExpiry(value.token) : stated
  return expiresAt === undefined ? ASSUMED_LIFE_MS : expiresAt - serverNow(serverTime, clock)
}

/** Date tells whole seconds: the true time is up to one later. A local clock that agrees is finer. */
function serverNow(serverTime: number | undefined, clock: Clock): number {
  const now = clock.now()
  if (serverTime === undefined) return now
  const aheadMs = now - serverTime
  return aheadMs >= 0 && aheadMs < 1_500 ? now : serverTime + 1_000
}
