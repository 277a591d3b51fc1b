/** What a token says about itself. Read, never believed: its signature is not ours to check. */

/** Epoch ms; undefined when the token does not say, and when it is not a JWT. */
export function jwtExpiry(token: string): number | undefined {
  const exp = claimsOf(token)?.exp
  return typeof exp === 'number' ? exp * 1000 : undefined
}

/** What the token may be used for; undefined when it is not a JWT. */
export function jwtScopes(token: string): readonly string[] | undefined {
  const claims = claimsOf(token)
  if (claims === undefined || !/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) return undefined
  const scopes = [claims.scope].flat().filter((scope) => typeof scope === 'string')
  return scopes.flatMap((scope) => scope.split(' ')).filter((scope) => scope !== '')
}

function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const payload = token.split('.')[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const isObject = typeof claims === 'object' && claims !== null && !Array.isArray(claims)
    return isObject ? (claims as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}
