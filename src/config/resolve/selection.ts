/**
 * Which targets there are when settings come from several places: the command line, else
 * LAKEBASE_PROXY_TARGETS, else the file, else what Databricks' own tools set.
 */

import { isThisMachine } from '../../core/loopback.js'
import { lakebaseHost } from '../schema/target-text.js'
import { parseTarget } from '../schema/targets.js'
import type { Source, Variables, Written, WrittenTarget } from '../sources/sources.js'

export interface TargetPlaces {
  readonly typed: readonly string[]
  readonly flags: Source
  /** The environment, then `.env`. */
  readonly variables: readonly { readonly source: Source; readonly from: Variables }[]
  readonly fileTargets: readonly WrittenTarget[]
  readonly cwd: string
  readonly hostname: string
}

// PGHOST is what Databricks Apps set; it counts only where it names a Lakebase.
const NAMED_BY_OTHERS = [
  'LAKEBASE_ENDPOINT',
  'LAKEBASE_INSTANCE',
  'LAKEBASE_PG_URL',
  'PGHOST',
] as const

/** Empty when no TARGET is named. */
export function selectTargets(places: TargetPlaces): readonly WrittenTarget[] {
  const { typed, flags, variables, fileTargets, cwd, hostname } = places
  if (typed.length > 0) {
    return typed.map((text) => plain({ text, where: 'TARGET', folder: cwd }))
  }
  for (const source of [flags, ...variables.map((each) => each.source)]) {
    const written = source.get('targets')
    if (written !== undefined) {
      return listOf(written.text).map((text) => plain({ ...written, text }))
    }
  }
  if (fileTargets.length > 0) return fileTargets
  for (const name of NAMED_BY_OTHERS) {
    for (const { from } of variables) {
      for (const written of assignments(from, name)) {
        // What `url --format dotenv` printed for the application: the proxy must not dial itself.
        const isLocal = name === 'LAKEBASE_PG_URL' && namesThisMachine(written.text, hostname)
        if (isLocal) continue
        if (name !== 'PGHOST') return [plain(written)]
        if (lakebaseHost(written.text) !== undefined) return [ofApp(written, from, places)]
      }
    }
  }
  return []
}

/** PGDATABASE is the default database, below every setting of ours that names one. */
function ofApp(host: Written, from: Variables, { flags, variables }: TargetPlaces): WrittenTarget {
  const [database] = assignments(from, 'PGDATABASE')
  const sources = [flags, ...variables.map(({ source }) => source)]
  const isSet = sources.some((settings) => settings.has('database'))
  if (database === undefined || isSet) return plain(host)
  return { ...plain(host), options: new Map([['database', database]]) }
}

/**
 * The TARGETs between white space. A connection string is not taken to pieces: a piece of its
 * password would look like the name of an instance, and be printed.
 */
function listOf(text: string): readonly string[] {
  const words = text.split(/\s+/)
  const isOneText = /(^|\s)\w+\s?=|["';]|^psql\s/.test(text)
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

/** The values of a variable, the effective one first; `.env` may assign it more than once. */
function assignments(from: Variables, name: string): readonly Written[] {
  const { folder, isImplicit = false } = from
  const all = from.assignments?.(name) ?? [
    { text: from.values[name] ?? '', where: from.where(name) },
  ]
  return all
    .map(({ text, where }) => ({ text: text.trim(), where, folder, isImplicit }))
    .filter(({ text }) => text !== '')
}

function plain(written: Written): WrittenTarget {
  return { ...written, options: new Map() }
}

function namesThisMachine(url: string, hostname: string): boolean {
  try {
    const { target } = parseTarget(url)
    return target.kind === 'static' && isThisMachine(target.host, hostname)
  } catch {
    // Perhaps a local URL without a password, which is not a form of a TARGET.
    const [, authority = '', query] =
      /^[a-z0-9+]+:\/\/([^/?]*)(?:\/[^?]*)?(\?.*)?/is.exec(url) ?? []
    const named = authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, '')
    const host = new URLSearchParams(query).get('host') ?? named
    if (host.startsWith('/')) return true
    return host === '' ? false : isThisMachine(host.replace(/^\[(.*)\]$/, '$1'), hostname)
  }
}
