/** What a token says about itself. Read, never believed: its signature is not ours to check. */

export interface JwtTimes {
  /** Epoch ms. */
  readonly expiresAt: number | undefined
}

/** Nothing is known of a token that is no JWT. */
export function jwtTimes(token: string): JwtTimes {
  const payload = token.split('.')[1]
  if (payload === undefined) return { expiresAt: undefined }
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const exp =
      typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : undefined
    return { expiresAt: typeof exp === 'number' ? exp * 1000 : undefined }
  } catch {
    return { expiresAt: undefined }
  }
}
