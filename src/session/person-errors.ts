/** What a client of a gateway reads when it does not get in, and what the workspace's answers mean. */

import { ProxyError } from '../core/errors.js'
import { ApiError, refusesSignIn } from '../databricks/lakebase/api-error.js'

/** The workspace's own 401 or 403. */
export function isNo(error: unknown): error is ProxyError {
  if (!(error instanceof ProxyError)) return false
  if (refusesSignIn(error)) return true
  return error instanceof ApiError && (error.status === 401 || error.status === 403)
}

export function wrongPassword(reason: string | undefined): ProxyError {
  return new ProxyError('password', 'password authentication failed', {
    detail: reason,
    hint:
      'The password is a personal access token or an OAuth access token of the workspace (user: your own name, or "token"), ' +
      "or a service principal's OAuth secret (user: its application id).",
  })
}

export function unreachable(error: unknown): unknown {
  if (!(error instanceof ProxyError) || error.kind === 'limit' || error.kind === 'stopping') {
    return error
  }
  const { detail, hint } = error
  return new ProxyError('credential', error.message, { cause: error, detail, hint })
}

export function tooSlow(waitedMs: number): ProxyError {
  return new ProxyError('credential', 'workspace did not say in time who the client is', {
    detail: `Waited for ${waitedMs / 1000} s (connect-timeout).`,
    hint: 'Try again in a minute.',
  })
}

export function anotherIdentity(name: string): ProxyError {
  return new ProxyError('identity', 'user name and password are of two identities', {
    hint: `The password belongs to "${name}": connect as that user, or as "token".`,
  })
}

export function noGroup(): ProxyError {
  return new ProxyError('identity', 'no group is named after "~" in the user name', {
    hint: 'Write ROLE~group, or the role alone.',
  })
}

export function nameless(): ProxyError {
  return new ProxyError('identity', 'a database credential needs its role as the user name', {
    hint: 'Connect as the identity that the credential was minted for.',
  })
}

export function tooManyLogins(): ProxyError {
  return new ProxyError('limit', 'too many clients wait for the workspace', {
    hint: 'Try again in a minute.',
  })
}
