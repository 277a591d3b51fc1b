/**
 * When a message may repeat a text that was rejected. A text in the wrong place is often a
 * connection string with a password in it, in one of many forms: a URL, `host=h password=p`,
 * `Host=h;Password=p`, `PGPASSWORD=p psql`. Each of them holds one of these characters.
 */

const LONGEST = 100

/** Whether a rejected text must not be repeated. */
export function mayHoldSecret(text: string): boolean {
  return text.length > LONGEST || /[=;@\s\p{Cc}]|:\/\//u.test(text)
}

/** The text in quotation marks, or `otherwise` when it may hold a secret. */
export function quoted(text: string, otherwise: string): string {
  return mayHoldSecret(text) ? otherwise : `"${text}"`
}
