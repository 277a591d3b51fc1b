/** Other people's words, made fit for one line of ours. */

const MAX_LENGTH = 500

/** One line, no control characters, nothing that looks like a token, and not endless. */
export function plainText(text: string): string {
  const line = text
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of a terminal
    .replace(/\u001b\[[0-9;]*m/g, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .replace(/\beyJ[\w-]+\.[\w.-]+/g, '[redacted]')
    .replace(/\bdapi[0-9a-f]{16,}(-\d+)?/g, '[redacted]')
    .trim()
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line
}
