/** What a token says about itself. Read, never believed: its signature is not ours to check. */

export interface JwtTimes {
  /** Epoch ms. */
  readonly expiresAt: number | undefined
}

/** Nothing is known of a token that is not a JWT. */
export function jwtTimes(token: string): JwtTimes {
  const exp = claimsOf(token)?.exp
  return { expiresAt: typeof exp === 'number' ? exp * 1000 : undefined }
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
    return isRecord(claims) ? claims : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
