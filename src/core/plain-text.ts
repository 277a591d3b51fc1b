/**
 * Text of others (a client, a server, a workspace, a program) made fit to be logged and shown: it
 * holds no secret, and cannot move the cursor, hide a part of itself or pass for a line of ours. A
 * text that was rejected may be a secret as a whole, and is then not repeated.
 */

import { isClean, redact } from './redact.js'
import { hideKnown } from './secret.js'

const MAX_LENGTH = 400

/** One line without a secret, cut to a few hundred characters. For every text that we did not write. */
export function plainText(text: string, maxLength: number = MAX_LENGTH): string {
  if (text.length <= maxLength && isPlainName(text)) return text
  // The first cut bounds the work; it is far after the second one.
  const raw = hideKnown(text.slice(0, 10 * maxLength), 'words')
  const line = printable(raw).replace(/\s+/g, ' ').trim()
  // Once more: what stood between its characters is gone.
  return cut(hideKnown(redact(line), 'words'), maxLength)
}

/** Whether cleaning would change nothing, as with most names. This check is less work than cleaning. */
function isPlainName(text: string): boolean {
  return !/\s/.test(text) && isClean(text) && hideKnown(text, 'words') === text
}

/** JSON for people and programs, with escapes for characters that a terminal would obey. */
export function shownJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(
    /(?!\n)[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) =>
      [...Array(character.length).keys()]
        .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
        .join(''),
  )
}

/** One line for a terminal, spaces as they are. For a line of ours that may quote others. */
export function oneLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, ' ')
}

/**
 * The text without escape sequences, control characters (of both kinds), and characters that show
 * nothing but change what is seen: directions, zero widths, tags. Line breaks and tabs stay, and so
 * do the joiners that Persian, Hindi and emoji are written with.
 */
export function printable(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(SEQUENCES, '')
    .replace(CONTROLS, ' ')
    .replace(INVISIBLE, '')
    .replace(/\p{Surrogate}/gu, '\ufffd')
}

// https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
// In order: a control sequence, as of a colour; a string, as of a window's title; any other.
const SEQUENCES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[P\]X^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c\n]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g
const CONTROLS = /(?![\n\t])[\p{Cc}\u2028\u2029]/gu
const INVISIBLE =
  /[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu

function cut(line: string, maxLength: number): string {
  if (line.length <= maxLength) return line
  return `${line.slice(0, maxLength).replace(/[\ud800-\udbff]$/, '')}…`
}

/** A limit that no name reaches. */
const MAX_NAME = 100

/**
 * Whether a rejected text must not be repeated. A text in the wrong place is often a connection string
 * with a password in it, in one of many forms: a URL, `host=h password=p`, `Host=h;Password=p`,
 * `PGPASSWORD=p psql`. Each of them holds one of these characters.
 */
export function mayHoldSecret(text: string): boolean {
  return text.length > MAX_NAME || /[=;@\s\p{Cc}]|:\/\//u.test(text)
}

/** The text in quotation marks, or `otherwise` when it may hold a secret. */
export function quoted(text: string, otherwise: string): string {
  return mayHoldSecret(text) ? otherwise : `"${text}"`
}
