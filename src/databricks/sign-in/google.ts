/**
 * What both ways of signing in through Google share: which workspaces are on Google Cloud, and the
 * tokens of a service account's key (RFC 7523: a signed assertion for a token).
 */

import { createSign } from 'node:crypto'

import { z } from 'zod'

import type { Clock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import type { HttpReply } from '../http/http.js'
import { isDatabricksHost, isGoogleHost } from '../http/workspace-host.js'
import type { Attribute } from './databricks-config.js'
import { jwtExpiry } from './jwt.js'
import type { ConfigWithHost, TokenCall, WorkspaceToken } from './sign-in-method.js'
import { readJson, readTokenReply } from './token-reply.js'

export const GOOGLE_ATTRIBUTES: readonly Attribute[] = [
  {
    name: 'google_service_account',
    env: ['DATABRICKS_GOOGLE_SERVICE_ACCOUNT'],
    family: 'google',
  },
  { name: 'google_credentials', env: ['GOOGLE_CREDENTIALS'], family: 'google', sensitive: true },
  { name: 'cloud', env: ['DATABRICKS_CLOUD'] },
]

/** What Databricks' SDKs ask for. */
export const GOOGLE_SCOPES = [
  'https://www.googleapis.com/auth/cloud-platform',
  'https://www.googleapis.com/auth/compute',
]

/** Google's access tokens are good for far more than a workspace: they go to Databricks only. */
export function isGoogle(config: ConfigWithHost): boolean {
  const named = config.get('cloud')?.toUpperCase() === 'GCP'
  return isGoogleHost(config.host) || (named && isDatabricksHost(config.host))
}

const ServiceAccountKey = z.object({
  type: z.literal('service_account'),
  client_email: z.string().min(1),
  private_key: z.string().min(1),
  private_key_id: z.string().nullish(),
  token_uri: z.url().default('https://oauth2.googleapis.com/token'),
})
export type ServiceAccountKey = z.infer<typeof ServiceAccountKey>

/** Undefined for credentials of another kind, and for text that is not JSON. */
export function readServiceAccountKey(text: string): ServiceAccountKey | undefined {
  return readJson(text, ServiceAccountKey)
}

const LIFE_S = 3600

/** `claims`: `scope` for an access token, `target_audience` for an ID token. */
export async function tokenOfKey(
  key: ServiceAccountKey,
  claims: { readonly scope: string } | { readonly target_audience: string },
  call: TokenCall,
): Promise<Secret> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: signedAssertion(key, claims, call.clock),
  })
  const field = 'scope' in claims ? 'access_token' : 'id_token'
  return googleToken({ url: new URL(key.token_uri), form, field, who: key.client_email }, call)
}

export async function googleToken(
  request: { url: URL; form: URLSearchParams; field: TokenField; who: string },
  { http, signal }: TokenCall,
): Promise<Secret> {
  const { url, form, field, who } = request
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const reply = await http.send({ method: 'POST', url, headers, body: form.toString(), signal })
  return readGoogleToken(reply, field, `for ${who}`)
}

/** Where the reply holds the token: Google's APIs differ. */
export type TokenField = 'id_token' | 'access_token' | 'token' | 'accessToken'

export function readGoogleToken(reply: HttpReply, field: TokenField, what: string): Secret {
  const schema = z.object({ [field]: z.string().min(1) })
  return new Secret(readTokenReply(reply, schema, `Google gave no token ${what}`)[field]!)
}

/** The ID token signs in; the access token lets a service account in by its rights in Google alone. */
export function googleWorkspaceToken(
  idToken: Secret,
  accessToken: Secret | undefined,
  clock: Clock,
): WorkspaceToken {
  return {
    accessToken: idToken,
    expiresAt: jwtExpiry(idToken.reveal()) ?? clock.now() + (LIFE_S * 1000) / 2,
    ...(accessToken === undefined
      ? {}
      : { headers: { 'x-databricks-gcp-sa-access-token': accessToken } }),
  }
}

function signedAssertion(key: ServiceAccountKey, claims: object, clock: Clock): string {
  const issuedAt = Math.floor(clock.now() / 1000)
  const header = {
    alg: 'RS256',
    typ: 'JWT',
    ...(key.private_key_id && { kid: key.private_key_id }),
  }
  const payload = {
    iss: key.client_email,
    sub: key.client_email,
    aud: key.token_uri,
    iat: issuedAt,
    exp: issuedAt + LIFE_S,
    ...claims,
  }
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const text = `${encode(header)}.${encode(payload)}`
  try {
    const signature = createSign('RSA-SHA256').update(text).sign(key.private_key, 'base64url')
    return `${text}.${signature}`
  } catch {
    throw new ProxyError('config', `the private key of ${key.client_email} cannot be used`, {
      hint: 'Download the key of the service account again as JSON.',
    })
  }
}
