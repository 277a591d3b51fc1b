/**
 * Which targets there are when settings come from several places: the command line, else
 * LAKEBASE_PROXY_TARGETS, else the file, else what Databricks' own tools set (contract: with no TARGET).
 */

import { isThisMachine } from '../../core/loopback.js'
import { parseTarget } from '../schema/targets.js'
import type { Source, Variables, Written, WrittenTarget } from '../sources/sources.js'

export interface Places {
  /** TARGETs of the command line. */
  readonly typed: readonly string[]
  readonly flags: Source
  /** The environment, then `.env`. */
  readonly variables: readonly { readonly source: Source; readonly from: Variables }[]
  readonly fileTargets: readonly WrittenTarget[]
  readonly cwd: string
  /** This machine's name. */
  readonly hostname: string
}

const NAMED_BY_OTHERS = ['LAKEBASE_ENDPOINT', 'LAKEBASE_INSTANCE', 'LAKEBASE_PG_URL'] as const

/** Empty when nobody named one. */
export function selectTargets(places: Places): readonly WrittenTarget[] {
  const { typed, flags, variables, fileTargets, cwd } = places
  if (typed.length > 0) {
    return typed.map((text) => plain({ text, where: 'TARGET', folder: cwd }))
  }
  for (const source of [flags, ...variables.map((each) => each.source)]) {
    const written = source.settings.get('targets')
    if (written !== undefined) {
      return listOf(written.text).map((text) => plain({ ...written, text }))
    }
  }
  if (fileTargets.length > 0) return fileTargets
  for (const name of NAMED_BY_OTHERS) {
    for (const { from } of variables) {
      const text = from.values[name]?.trim()
      if (text === undefined || text === '') continue
      // What `url --format dotenv` printed for the application: the proxy must not dial itself.
      if (name === 'LAKEBASE_PG_URL' && namesThisMachine(text, places.hostname)) continue
      const { folder, isImplicit = false } = from
      return [plain({ text, where: from.where(name), folder, isImplicit })]
    }
  }
  return []
}

/**
 * The TARGETs between white space. A connection string is not taken to pieces: a piece of its
 * password would look like the name of an instance, and be printed.
 */
function listOf(text: string): readonly string[] {
  const words = text.split(/\s+/)
  const isOneText = /(^|\s)[\w ]+\s*=|["';]|^psql\s/.test(text)
  const isTorn =
    /:\/\/|@/.test(text) && words.some((word) => !/[@=]|:\/\//.test(word) && !isTarget(word))
  return isOneText || isTorn ? [text] : words
}

function isTarget(text: string): boolean {
  try {
    parseTarget(text)
    return true
  } catch {
    return false
  }
}

function plain(written: Written): WrittenTarget {
  return { ...written, options: new Map() }
}

function namesThisMachine(url: string, hostname: string): boolean {
  try {
    const { target } = parseTarget(url)
    return target.kind === 'static' && isThisMachine(target.host, hostname)
  } catch {
    // Perhaps a local URL without a password, which is none of a TARGET's forms.
    const [, authority = '', query] = /^[a-z0-9+]+:\/\/([^/?]*)[^?]*(.*)$/i.exec(url) ?? []
    const named = authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, '')
    const host = new URLSearchParams(query).get('host') ?? named
    if (host.startsWith('/')) return true
    return host === '' ? false : isThisMachine(host.replace(/^\[(.*)\]$/, '$1'), hostname)
  }
}
