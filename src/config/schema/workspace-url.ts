/**
 * The address of a workspace as people write it, with what goes wrong on its way through files and
 * shells.
 */

import { isLoopback } from '../../core/loopback.js'
import { type Kind, ValueError } from './values.js'

const FORM = 'Write it as https://dbc-a1b2c3d4-e5f6.cloud.databricks.com.'

const MISTAKES: readonly (readonly [RegExp, string])[] = [
  [/^$/, 'must not be empty'],
  [/["'`\u2018-\u201f]/, 'has quotation marks in it'],
  [/\$[{(A-Za-z]|\{\{|[<>]|%[A-Za-z_]+%/, 'has a placeholder in it that was not filled in'],
  [/https?:?\/.*https?:?\//i, 'holds two URLs'],
  [/[\s,;]/, 'holds more than one URL, or white space'],
  [/^https?(?!:\/\/[^/]|[^:/])/i, 'does not begin with https:// rightly'],
  [/^(?!https?:)[^/?#]*:\/\//i, 'must begin with https://'],
  [/^[^?#]*@/, 'must not hold a user name or a password'],
]

/** A bare host, as Databricks Apps set it, gets https. Throws a ValueError. */
export function readWorkspaceUrl(written: string): URL {
  const text = written.trim()
  for (const [mistake, message] of MISTAKES) {
    if (mistake.test(text)) throw new ValueError(message, FORM)
  }
  const whole = text.includes('://') ? text : `https://${text}`
  if (!URL.canParse(whole)) throw new ValueError('is not the URL of a workspace', FORM)
  const url = new URL(whole)
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new ValueError(
      'must begin with https:// unless it is on this machine: a token would go there without TLS',
      `Write https://${url.host}.`,
    )
  }
  return url
}

/** What a browser shows: its path is dropped; its query may say which workspace of the host. */
export const workspaceUrl: Kind<string> = {
  placeholder: 'URL',
  parse(written) {
    const { origin, search } = readWorkspaceUrl(written)
    return search === '' ? origin : `${origin}/${search}`
  },
}
