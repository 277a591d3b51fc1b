/**
 * Workload identity federation: the ID token of another issuer for a workspace token, by RFC 8693 token
 * exchange. With a client id the service principal's policy decides, without one the account's.
 */

import { None } from 'oauth4webapi'

import type { Secret } from '../../core/secret.js'
import { discoverAuthorizationServer, federationAudience, requestToken } from './oidc.js'
import type { ConfigWithHost, SignIn, TokenCall, WorkspaceToken } from './sign-in-method.js'

export interface IdTokenSource {
  /** For "refused …": `the ID token of GitHub Actions`. */
  readonly what: string
  readonly hint: string
  /** Called at each exchange, because an ID token lives for minutes. */
  readonly read: ReadIdToken
}

/** `audience` may ask the host, so it is called only by sources that can choose one. */
export type ReadIdToken = (audience: () => Promise<string>, call: TokenCall) => Promise<Secret>

export function idTokenSignIn(source: IdTokenSource, config: ConfigWithHost): SignIn {
  return { hint: source.hint, fetchToken: (call) => exchangeIdToken(source, config, call) }
}

async function exchangeIdToken(
  source: IdTokenSource,
  config: ConfigWithHost,
  call: TokenCall,
): Promise<WorkspaceToken> {
  const server = await discoverAuthorizationServer(config, call)
  const audience = (): Promise<string> => federationAudience(config, server.token_endpoint, call)
  const idToken = await source.read(audience, call)
  const clientId = config.get('client_id')
  return requestToken(
    server,
    {
      client: { client_id: clientId ?? 'federated' },
      clientAuth: clientId === undefined ? () => {} : None(),
      grantType: 'urn:ietf:params:oauth:grant-type:token-exchange',
      parameters: {
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        subject_token: idToken.reveal(),
        scope: config.scopes,
      },
      what: source.what,
      hint: source.hint,
    },
    call,
  )
}

/** Said where the workspace refuses an ID token that was there. */
export function federationHint(config: ConfigWithHost): string {
  const clientId = config.get('client_id')
  return clientId === undefined
    ? 'Set DATABRICKS_CLIENT_ID to the service principal whose federation policy covers this token.'
    : `Check the federation policy of service principal ${clientId}: issuer, audience and subject.`
}
