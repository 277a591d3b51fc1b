/** `github-oidc`: the ID token of a GitHub Actions job (`permissions: id-token: write`). */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { Secret } from '../../core/secret.js'
import type { SignInMethod } from './sign-in-method.js'
import { exchangeIdToken, federationHint } from './token-exchange.js'

export const githubOidc: SignInMethod = {
  type: 'github-oidc',
  attributes: [
    { name: 'actions_id_token_request_url', env: ['ACTIONS_ID_TOKEN_REQUEST_URL'] },
    {
      name: 'actions_id_token_request_token',
      env: ['ACTIONS_ID_TOKEN_REQUEST_TOKEN'],
      sensitive: true,
    },
  ],
  needs: 'a GitHub Actions job with "permissions: id-token: write"',
  ambient: true,
  configure(config, deps) {
    const requestUrl = config.get('actions_id_token_request_url')
    const requestToken = config.secret('actions_id_token_request_token')
    if (requestUrl === undefined || requestToken === undefined) return undefined
    const hint = federationHint(config)
    return {
      hint,
      fetchToken: (signal) =>
        exchangeIdToken(
          { what: 'the ID token of GitHub Actions', hint, read: readIdToken },
          config,
          deps,
          signal,
        ),
    }

    async function readIdToken(audience: string, signal: AbortSignal): Promise<Secret> {
      const url = new URL(requestUrl!)
      url.searchParams.set('audience', audience)
      const headers = { authorization: `Bearer ${requestToken!.reveal()}` }
      const reply = await deps.http.send({ url, headers, signal })
      const token = reply.status === 200 ? readValue(reply.text) : undefined
      if (token !== undefined) return token
      throw new ProxyError(
        'identity',
        `GitHub gave no ID token: HTTP status ${reply.status}: ${plainText(reply.text)}`,
        { hint: 'Give the job "permissions: id-token: write".' },
      )
    }
  },
}

function readValue(text: string): Secret | undefined {
  try {
    return new Secret(z.object({ value: z.string().min(1) }).parse(JSON.parse(text)).value)
  } catch {
    return undefined
  }
}
