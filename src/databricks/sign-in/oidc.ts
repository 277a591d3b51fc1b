/**
 * The workspace as an OAuth 2.0 authorization server (RFC 8414 metadata, RFC 6749 token endpoint),
 * spoken to with oauth4webapi, adapted in three places: Databricks keeps the metadata under `/oidc/`,
 * the issuer in it may differ from the host that was asked, and client id and secret in Basic are not
 * percent-encoded. What a host says of itself is at `/.well-known/databricks-config`: its account and issuer.
 */

import {
  type AuthorizationServer,
  allowInsecureRequests,
  type Client,
  type ClientAuth,
  customFetch,
  genericTokenEndpointRequest,
  OperationProcessingError,
  processDiscoveryResponse,
  processGenericTokenEndpointResponse,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'oauth4webapi'

import { z } from 'zod'
import { ProxyError } from '../../core/errors.js'
import { isLoopback } from '../../core/loopback.js'
import { plainText } from '../../core/plain-text.js'
import type { Secret } from '../../core/secret.js'
import type { HttpReply } from '../http/http.js'
import { pathPart } from '../http/workspace-host.js'
import {
  type ConfigWithHost,
  SignInRefused,
  type TokenCall,
  type WorkspaceToken,
  workspaceToken,
} from './sign-in-method.js'
import { readJson } from './token-reply.js'

/** The authorization server's own metadata. Errors: kind `credential` or `identity`. */
export async function discoverAuthorizationServer(
  config: ConfigWithHost,
  call: TokenCall,
): Promise<AuthorizationServer> {
  const { http, signal } = call
  const explicit = config.get('discovery_url')
  const url = new URL(explicit ?? '/oidc/.well-known/oauth-authorization-server', config.host)
  const reply = await http.send({ url, signal })
  const found = await readMetadata(reply, url)
  if (found !== undefined) return found
  const unified = explicit === undefined ? await unifiedMetadataUrl(config, call) : undefined
  const second = unified && (await readMetadata(await http.send({ url: unified, signal }), unified))
  if (second !== undefined) return second
  throw new ProxyError(
    'credential',
    `${url.host} does not describe its OAuth endpoints (HTTP status ${reply.status})`,
    {
      detail: `Asked for ${url.href}.`,
      hint: `Check that ${config.sourceOf('host')} names a Databricks workspace.`,
    },
  )
}

/** Trades what `parameters` and `clientAuth` hold for an access token. */
export async function requestToken(
  server: AuthorizationServer,
  request: {
    readonly client: Client
    readonly clientAuth: ClientAuth
    readonly grantType: string
    readonly parameters: Record<string, string>
    /** For "HOST refused …" and "HOST gave no token for …". */
    readonly what: string
    readonly hint: string
  },
  { http, clock, signal }: TokenCall,
): Promise<WorkspaceToken> {
  const { client, clientAuth, grantType, parameters } = request
  const endpoint = new URL(server.token_endpoint ?? server.issuer)
  try {
    const response = await genericTokenEndpointRequest(
      server,
      client,
      clientAuth,
      grantType,
      parameters,
      {
        // `Http` repeats lost requests unless `idempotent: false`: a second token does no harm.
        [customFetch]: async (url, { headers, body }) => {
          const how = { headers, body: body.toString(), signal, followRedirects: false }
          return toResponse(await http.send({ method: 'POST', url: new URL(url), ...how }))
        },
        [allowInsecureRequests]: isLoopback(endpoint.hostname),
        signal,
      },
    )
    const grant = await processGenericTokenEndpointResponse(server, client, response)
    const lifeMs = grant.expires_in === undefined ? undefined : grant.expires_in * 1000
    const expiresAt = lifeMs === undefined ? undefined : clock.now() + lifeMs
    return workspaceToken(grant.access_token, expiresAt, clock)
  } catch (error) {
    throw asSignInError(error, request, endpoint)
  }
}

/** HTTP Basic as Databricks' SDKs send it: nothing is percent-encoded before base64. */
export function unencodedBasic(clientId: string, clientSecret: Secret): ClientAuth {
  return (_server, _client, _body, headers) => {
    const credentials = Buffer.from(`${clientId}:${clientSecret.reveal()}`).toString('base64')
    headers.set('authorization', `Basic ${credentials}`)
  }
}

async function readMetadata(reply: HttpReply, url: URL): Promise<AuthorizationServer | undefined> {
  if (reply.status !== 200) return undefined
  try {
    const { issuer } = JSON.parse(reply.text) as { issuer?: unknown }
    // Vanity and unified hosts name another issuer than the host that was asked; as the SDKs do,
    // trust in the document comes from the verified certificate of the host it was fetched from.
    const expected = new URL(typeof issuer === 'string' ? issuer : url.origin)
    const server = await processDiscoveryResponse(expected, toResponse(reply))
    return server.token_endpoint === undefined ? undefined : server
  } catch {
    return undefined
  }
}

/** On unified hosts the account is part of the issuer; a document at the root says so. */
async function unifiedMetadataUrl(
  config: ConfigWithHost,
  call: TokenCall,
): Promise<URL | undefined> {
  const { oidc_endpoint: template, account_id: account } = await hostMetadata(config, call)
  if (!template) return undefined
  const accountId = config.accountId ?? account ?? ''
  try {
    const issuer = new URL(template.replace('{account_id}', pathPart(accountId)))
    if (issuer.protocol !== 'https:' && !isLoopback(issuer.hostname)) return undefined
    return new URL(`${issuer.href.replace(/\/$/, '')}/.well-known/oauth-authorization-server`)
  } catch {
    return undefined
  }
}

const HostMetadata = z.object({
  oidc_endpoint: z.string().nullish().catch(undefined),
  account_id: z.string().nullish().catch(undefined),
  host_type: z.string().nullish().catch(undefined),
  token_federation_default_oidc_audiences: z.array(z.string()).nullish().catch(undefined),
})
type HostMetadata = z.infer<typeof HostMetadata>

/** Older hosts have none: then everything is unknown. */
async function hostMetadata(
  config: ConfigWithHost,
  { http, signal }: TokenCall,
): Promise<HostMetadata> {
  const url = new URL('/.well-known/databricks-config', config.host)
  const reply = await http.send({ url, signal })
  return (reply.status === 200 ? readJson(reply.text, HostMetadata) : undefined) ?? {}
}

/**
 * For whom an ID token is asked for, as the SDKs choose: the one that was set, else the host's first
 * default, else on a host of an account the account's id, else the token endpoint.
 */
export async function federationAudience(
  config: ConfigWithHost,
  tokenEndpoint: string | undefined,
  call: TokenCall,
): Promise<string> {
  const set = config.get('audience')
  if (set !== undefined) return set
  const metadata = await hostMetadata(config, call).catch((error: unknown) => {
    if (call.signal.aborted || !(error instanceof ProxyError)) throw error
    return {} as HostMetadata
  })
  const [first] = metadata.token_federation_default_oidc_audiences ?? []
  if (first !== undefined && first !== '') return first
  const ofAccount = ['ACCOUNT_HOST', 'UNIFIED_HOST'].includes(metadata.host_type ?? '')
  const accountId = config.accountId ?? (metadata.account_id || undefined)
  return (ofAccount ? accountId : undefined) ?? tokenEndpoint ?? config.host
}

function toResponse(reply: HttpReply): Response {
  return new Response(reply.text === '' ? null : reply.text, {
    status: reply.status,
    headers: reply.headers,
  })
}

function asSignInError(
  error: unknown,
  { what, hint }: { readonly what: string; readonly hint: string },
  { host }: URL,
): unknown {
  if (error instanceof ResponseBodyError) {
    const message = `${host} refused ${what}: ${plainText(error.error_description ?? error.error)}`
    const isNo = meansNo(error.status) || error.error === 'invalid_client'
    return isNo ? new SignInRefused(message, hint) : new ProxyError('identity', message, { hint })
  }
  const isChallenge = error instanceof WWWAuthenticateChallengeError
  if (!isChallenge && !(error instanceof OperationProcessingError)) return error
  const reply = error.cause instanceof Response ? error.cause : undefined
  const status = isChallenge ? error.status : reply?.status
  const why = status === undefined ? plainText(error.message) : `HTTP status ${status}`
  if (isChallenge || meansNo(status)) {
    return new SignInRefused(`${host} refused ${what}: ${why}`, hint)
  }
  return new ProxyError('credential', `${host} gave no token for ${what}: ${why}`, { hint })
}

function meansNo(status: number | undefined): boolean {
  return status === 401 || status === 403
}
