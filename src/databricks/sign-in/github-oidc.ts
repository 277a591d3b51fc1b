/** `github-oidc`: the ID token of a GitHub Actions job (`permissions: id-token: write`). */

import { z } from 'zod'

import { Secret } from '../../core/secret.js'
import type { Attribute } from './databricks-config.js'
import type { ConfigWithHost, SignInMethod } from './sign-in-method.js'
import { federationHint, idTokenSignIn, type ReadIdToken } from './token-exchange.js'
import { readTokenReply } from './token-reply.js'

export const GITHUB_ATTRIBUTES: readonly Attribute[] = [
  { name: 'actions_id_token_request_url', env: ['ACTIONS_ID_TOKEN_REQUEST_URL'] },
  {
    name: 'actions_id_token_request_token',
    env: ['ACTIONS_ID_TOKEN_REQUEST_TOKEN'],
    sensitive: true,
  },
]

export const githubOidc: SignInMethod = {
  type: 'github-oidc',
  attributes: GITHUB_ATTRIBUTES,
  needs: 'a GitHub Actions job with "permissions: id-token: write"',
  ambient: true,
  configure(config) {
    const read = githubIdTokenReader(config)
    if (read === undefined) return undefined
    const source = { what: 'the ID token of GitHub Actions', hint: federationHint(config), read }
    return idTokenSignIn(source, config)
  },
}

/** Undefined outside such a job. */
export function githubIdTokenReader(config: ConfigWithHost): ReadIdToken | undefined {
  const requestUrl = config.get('actions_id_token_request_url')
  const requestToken = config.secret('actions_id_token_request_token')
  if (requestUrl === undefined || requestToken === undefined) return undefined
  return async (audience, { http, signal }) => {
    const url = new URL(requestUrl)
    url.searchParams.set('audience', await audience())
    const headers = { authorization: `Bearer ${requestToken.reveal()}` }
    const reply = await http.send({ url, headers, signal })
    const hint = 'Give the job "permissions: id-token: write".'
    return new Secret(readTokenReply(reply, IdToken, 'GitHub gave no ID token', hint).value)
  }
}

const IdToken = z.object({ value: z.string().min(1) })
