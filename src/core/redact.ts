/**
 * Takes secrets out of text: those this process holds itself, and what has the form of one (a token
 * typed as a user name, a password that a server quotes). Time grows with the text and no faster:
 * a text may come from a client that has not proved anything.
 */

import { HIDDEN, hideKnown } from './secret.js'

const URL_TEXT = /:\/\/[^\s"]+/g

// A repeated class never overlaps what follows it, so that no pattern backtracks. A new pattern needs
// its marker in MARKERS below.
const PATTERNS: readonly [RegExp, string | ((...match: string[]) => string)][] = [
  // A JWT, or the beginning of one.
  [/(?<![A-Za-z0-9])eyJ(?:[\w-]{10,}|[\w-]{1,9}(?=\.[\w-]))(?:\.[\w-]*){0,4}/g, HIDDEN],
  // Databricks' own tokens and secrets.
  [/(?<![a-z0-9])d(?:api|ose|kea|sapi)[0-9a-f]{16,}(?:-\d{1,4})?/gi, HIDDEN],
  [URL_TEXT, hidePasswordOfUrl],
  [/\b(Bearer|Basic) [\w.~+/-]{8,}=*/gi, `$1 ${HIDDEN}`],
  // password=x, password = 'x y', "password": "x".
  [
    /\b((?:pg|ssl)?password|passwd|pwd|(?:client_)?secret|(?:(?:access|refresh|id)_)?token|assertion)(\s?=\s?|["']\s?:\s?)(?:'(?:[^'\\]|\\.){1,4096}'?|"(?:[^"\\]|\\.){1,4096}"?|[^\s&"'][^\s&]*)/gis,
    `$1$2${HIDDEN}`,
  ],
]

/** The text without what is, or looks like, a secret. */
export function redact(text: string): string {
  let clean = hideKnown(text, 'whole')
  for (const [pattern, replacement] of PATTERNS) {
    clean = clean.replace(pattern, replacement as string)
  }
  return hideKnown(clean, 'beginning')
}

// Each of PATTERNS but the URL's matches only a text that one of these is in: keep both in step.
const MARKERS = /eyJ|d(?:api|ose|kea|sapi)[0-9a-f]|bearer|basic|passw|pwd|secret|token|assertion/i
const PRINTABLE_ASCII = /^[ !#-[\]-~"]*\n?$/

/**
 * Whether a text, such as a line of JSON, certainly holds nothing to redact or to make printable: it is
 * ASCII without escapes. It runs on two log lines and five names per session. A needless `false` costs
 * only time.
 */
export function isClean(line: string): boolean {
  return (
    PRINTABLE_ASCII.test(line) &&
    !MARKERS.test(line) &&
    (!line.includes('://') || line.replace(URL_TEXT, hidePasswordOfUrl) === line) &&
    hideKnown(line, 'beginning') === line
  )
}

/** A value as JSON, with every text in it redacted. */
export function redactedJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'string' ? redact(each) : each,
  )
}

/** `://user:password@`: up to the last @, as people forget to escape the one in a password. */
function hidePasswordOfUrl(url: string): string {
  const colon = url.indexOf(':', 3)
  const slash = url.indexOf('/', 3)
  const at = url.lastIndexOf('@')
  const hasPassword = colon !== -1 && colon + 1 < at && (slash === -1 || colon < slash)
  const isExample = url.slice(colon + 1, at).toLowerCase() === 'password' // as in our own hints
  return hasPassword && !isExample ? `${url.slice(0, colon)}:${HIDDEN}${url.slice(at)}` : url
}
