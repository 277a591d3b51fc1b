/** Takes out of text what looks like a secret: a token typed as a user name, one quoted in a server's error. */

// A JWT or its beginning, Databricks' own tokens and secrets, and what is named as a secret.
const SECRETS: readonly [RegExp, string][] = [
  [/\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}/g, '[redacted]'],
  [/\bd(?:api|ose|kea|sapi)[0-9a-f]{32}(?:-\d+)?/g, '[redacted]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:@/"]*):[^\s@"]+@/gi, '$1:[redacted]@'],
  [/\b(Bearer|Basic) [\w.~+/-]{8,}=*/gi, '$1 [redacted]'],
  [
    /\b((?:pg|ssl)?password|(?:client_)?secret|access_token|refresh_token|assertion)=[^\s&"'\\]+/gi,
    '$1=[redacted]',
  ],
]

/** The text without what looks like a secret. JSON stays JSON. */
export function redact(text: string): string {
  let clean = text
  for (const [pattern, replacement] of SECRETS) clean = clean.replace(pattern, replacement)
  return clean
}
