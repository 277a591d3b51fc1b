/**
 * Signing in to the emulated workspace: discovery, and the token endpoint for service principals
 * (client secret, or an ID token of a federated issuer). https://datatracker.ietf.org/doc/html/rfc8414
 */

import { OAuthError } from './api-error.js'
import { type ApiContext, type ApiRoute, route } from './api-route.js'
import type { Identity } from './inventory.js'

export function oidcRoutes(context: ApiContext): ApiRoute[] {
  const routes = [
    route('GET /oidc/.well-known/oauth-authorization-server', ({ origin }) => ({
      issuer: `${origin}/oidc`,
      authorization_endpoint: `${origin}/oidc/v1/authorize`,
      token_endpoint: `${origin}/oidc/v1/token`,
      scopes_supported: ['all-apis', 'email', 'offline_access', 'openid', 'profile', 'sql'],
      response_types_supported: ['code', 'id_token'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      grant_types_supported: [
        ...['client_credentials', 'authorization_code', 'refresh_token', TOKEN_EXCHANGE],
      ],
      code_challenge_methods_supported: ['S256'],
    })),
    route('GET /.well-known/databricks-config', ({ origin }) => ({
      oidc_endpoint: `${origin}/oidc`,
      account_id: '11111111-2222-3333-4444-555555555555',
      workspace_id: context.inventory.workspaceId,
      cloud: 'aws',
      host_type: 'workspace',
    })),
    route('POST /oidc/v1/token', ({ text, headers }) =>
      grant(new URLSearchParams(text), headers.authorization, context),
    ),
  ]
  return routes.map((each) => ({ ...each, isPublic: true }))
}

const WORKSPACE_TOKEN_MS = 3_600_000
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'
/** The subject of ID tokens that the federation policy knows. */
export const ID_TOKEN_SUBJECT = 'repo:example/app:ref:refs/heads/main'

function grant(
  form: URLSearchParams,
  authorization: string | string[] | undefined,
  context: ApiContext,
): object {
  if (form.get('scope') !== 'all-apis') {
    throw new OAuthError(400, 'invalid_scope', 'scope is invalid')
  }
  let identity: Identity | undefined
  switch (form.get('grant_type')) {
    case 'client_credentials':
      identity = byClientSecret(authorization?.toString(), context)
      break
    case TOKEN_EXCHANGE:
      identity = byIdToken(form, context)
      break
    default:
      throw new OAuthError(400, 'unsupported_grant_type', 'grant type is not supported')
  }
  if (identity === undefined) {
    throw new OAuthError(401, 'invalid_client', 'Client authentication failed')
  }
  const token = context.tokens.mint({ use: 'workspace', identity, lifeMs: WORKSPACE_TOKEN_MS })
  return {
    access_token: token.text,
    token_type: 'Bearer',
    expires_in: WORKSPACE_TOKEN_MS / 1000,
    scope: 'all-apis',
  }
}

/** HTTP Basic with the id and the secret as they are, which is how Databricks' own SDKs send them. */
function byClientSecret(
  authorization: string | undefined,
  context: ApiContext,
): Identity | undefined {
  const encoded = /^basic (.+)$/i.exec(authorization ?? '')?.[1] ?? ''
  const pair = Buffer.from(encoded, 'base64').toString()
  return context.inventory.identities.find(
    (each) => each.clientSecret !== undefined && pair === `${each.userName}:${each.clientSecret}`,
  )
}

/** The issuer and subject that the emulator's federation policy knows, for the principal that is named. */
function byIdToken(form: URLSearchParams, context: ApiContext): Identity | undefined {
  if (form.get('subject_token_type') !== JWT) return undefined
  const payload = (form.get('subject_token') ?? '').split('.')[1] ?? ''
  let subject: unknown
  try {
    subject = (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: unknown }).sub
  } catch {
    return undefined
  }
  if (subject !== ID_TOKEN_SUBJECT) return undefined
  const clientId = form.get('client_id')
  return context.inventory.identities.find(
    (each) => each.kind === 'service_principal' && each.userName === clientId,
  )
}
