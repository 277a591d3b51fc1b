/** What the user may name as a TARGET, told apart by its form alone; nothing is looked up here. */

import type { ProxyError } from '../../core/errors.js'
import { didYouMean, nearest } from '../../core/nearest.js'
import { mayHoldSecret } from '../../core/plain-text.js'
import { redact } from '../../core/redact.js'
import { parsePostgresUrl } from './postgres-url.js'
import {
  isSettingName,
  SETTINGS,
  TARGET_SETTING_NAMES,
  type TargetSettingName,
  variableOf,
} from './table.js'
import {
  cut,
  decode,
  lakebaseHost,
  malformed,
  type OnMistake,
  type ParsedTarget,
  readEach,
  refuse,
  type Target,
} from './target-text.js'

const FORMS =
  'A TARGET is my-instance, projects/P[/branches/B[/endpoints/E]], a Lakebase host name, or postgresql://user:password@host/database.'

const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/

/** Whether a text can be the id of an instance, project, branch or endpoint. */
export function isId(text: string): boolean {
  return ID.test(text)
}

/**
 * Throws a `config` error that says what is wrong and gives the nearest right form, never a password.
 * Mistakes in the options of its query are for `onMistake`; without it, the first is thrown.
 */
export function parseTarget(written: string, onMistake: OnMistake = refuse): ParsedTarget {
  const text = unwrap(written.trim())
  if (text === '') throw malformed('the TARGET is empty', FORMS)
  const scheme = /^([a-z][a-z0-9+.-]*):(?:\/\/|[a-z]+:\/\/)/i.exec(text)?.[1]
  if (scheme !== undefined) return parseUrl(scheme, text, onMistake)

  const [name, query] = cut(text, '?')
  if (mayHoldSecret(name)) throw unspeakable(name)
  const options = parseOptions(name, query, onMistake)
  const [branch, database] = splitDatabase(name)
  if (database !== undefined && !options.has('database')) options.set('database', database)
  return { name, target: parseName(branch), options }
}

/** The name that Databricks Apps and bundles give a database: it is the default on its branch. */
function splitDatabase(name: string): [branch: string, database: string | undefined] {
  const found = /^(projects\/[^/]+\/branches\/[^/]+)\/databases\/([^/]+)$/.exec(name)
  const [, branch = name, database] = found ?? []
  return database !== undefined && ID.test(database) ? [branch, database] : [name, undefined]
}

/** A URL in quotation marks, perhaps after `psql`, is what consoles give to be copied. */
function unwrap(text: string): string {
  const [, quote, url] = /^(?:psql\s+)?(['"]?)(postgres(?:ql)?:\/\/.*)$/is.exec(text) ?? []
  if (url === undefined || quote === undefined) return text
  return quote !== '' && url.endsWith(quote) ? url.slice(0, -1) : url
}

/** The error for a text that is never repeated, since it may hold a password. */
function unspeakable(text: string): ProxyError {
  if (text.includes('=')) {
    return malformed(
      'a connection string of keywords and values is not a TARGET',
      'Write it as a URL: postgresql://user:password@host:port/database.',
    )
  }
  if (text.includes('@')) {
    return malformed(
      'a TARGET with an @ is a URL, and has no scheme',
      'Put postgresql:// in front of it.',
    )
  }
  return malformed('this text is not a TARGET', FORMS)
}

function parseUrl(scheme: string, text: string, onMistake: OnMistake): ParsedTarget {
  if (/^postgres(ql)?(\+[a-z0-9_]+)?$/i.test(scheme)) return parsePostgresUrl(text, onMistake)
  // The rest of the text may hold a password, so that only its scheme is said.
  if (/^jdbc$/i.test(scheme)) {
    throw malformed(
      'a JDBC URL is not a TARGET',
      'Drop "jdbc:": postgresql://user:password@host/database.',
    )
  }
  if (/^https?$/i.test(scheme)) {
    throw malformed(
      'a web address is not a TARGET',
      'Name the database instance or project, and give the workspace as --databricks-host.',
    )
  }
  throw malformed('the scheme of this URL is not that of a TARGET', FORMS)
}

function parseName(name: string): Target {
  if (name.includes('/')) return parsePath(name)
  if (ID.test(name)) return { kind: 'provisioned', instance: name }
  const [hostPart, port] = cut(name, ':')
  const host = lakebaseHost(hostPart)
  if (port !== undefined && (host !== undefined || ID.test(hostPart))) {
    throw malformed(
      `"${name}" is not a TARGET: it holds a port`,
      host === undefined
        ? `To listen at that port: ${hostPart}?port=${port}.`
        : `To dial that port: ${host}?upstream-port=${port}.`,
    )
  }
  if (host !== undefined) return { kind: 'host', host }
  if (name.startsWith('-'))
    throw malformed(`"${name}" is not a TARGET`, 'Flags begin with two hyphens.')
  if (/^[A-Za-z0-9_.-]+$/.test(name) && /.\../.test(name)) {
    throw malformed(
      `"${name}" is not a Lakebase host name`,
      `Those begin with instance- or ep- and go on with .database. For another server: postgresql://user:password@${name}/database.`,
    )
  }
  throw malformed(`"${name}" is not a TARGET`, FORMS)
}

const PATH_WORDS = ['projects', 'branches', 'endpoints'] as const

function parsePath(name: string): Target {
  const parts = name.split('/')
  const ofAll = /^projects\/([^/]+)\/branches\/\*$/.exec(name)?.[1] ?? ''
  if (ID.test(ofAll)) return { kind: 'branches', project: ofAll }
  const wellFormed =
    parts.length % 2 === 0 &&
    parts.length <= 6 &&
    parts.every((part, index) => (index % 2 === 0 ? part === PATH_WORDS[index / 2] : ID.test(part)))
  if (!wellFormed) {
    throw malformed(`"${name}" is not projects/P[/branches/B[/endpoints/E]]`, nearestPath(parts))
  }
  const [, project, , branch, , endpoint] = parts
  return {
    kind: 'autoscaling',
    project: project!,
    ...(branch === undefined ? {} : { branch }),
    ...(endpoint === undefined ? {} : { endpoint }),
  }
}

/** The ids that were given, each after the word it belongs to. */
function nearestPath(written: readonly string[]): string {
  const parts = written.filter((part) => part !== '')
  const ids: string[] = []
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const [word] = nearest(parts[at]!, PATH_WORDS, 1)
    if (word === undefined || !ID.test(parts[at + 1]!)) return FORMS
    ids[PATH_WORDS.indexOf(word)] = parts[at + 1]!
  }
  if (parts.length % 2 === 1 || ids.length === 0) return FORMS
  const path = Array.from(ids, (id, at) => `${PATH_WORDS[at]}/${id ?? 'PBE'[at]}`)
  return `Did you mean "${path.join('/')}"?`
}

/** Whether a text is, or holds, a TARGET with a password, also one that is written wrongly. */
export function holdsPassword(text: string): boolean {
  if (redact(text) !== text) return true
  return [text, ...text.split(/\s+/)].some((each) => {
    try {
      return parseTarget(each).target.kind === 'static'
    } catch {
      return false
    }
  })
}

function parseOptions(
  name: string,
  query: string | undefined,
  onMistake: OnMistake,
): Map<TargetSettingName, string> {
  const options = new Map<TargetSettingName, string>()
  const pairs = (query ?? '').split('&').filter((pair) => pair !== '')
  readEach(pairs, onMistake, (pair) => {
    const [key, value] = cut(pair, '=')
    const option = targetOption(decode(key, `an option of TARGET "${name}"`), `TARGET "${name}"`)
    if (options.has(option)) {
      throw malformed(`TARGET "${name}" has ${option} twice`, 'Leave one of them out.')
    }
    if (value === undefined && SETTINGS[option].kind.placeholder !== '') {
      throw malformed(`${option} of TARGET "${name}" has no value`, `Write ${option}=VALUE.`)
    }
    options.set(option, decode(value ?? 'true', `${option} of TARGET "${name}"`))
  })
  return options
}

/** `key` as a setting of one target; `where` is for the error. */
export function targetOption(key: string, where: string): TargetSettingName {
  const known = TARGET_SETTING_NAMES.find((name) => name === key)
  if (known !== undefined) return known as TargetSettingName
  if (isSettingName(key)) {
    throw malformed(
      `${key} is a setting of the whole proxy, not of ${where}`,
      `Set it with --${key} or ${variableOf(key)}.`,
    )
  }
  throw malformed(
    `${where} has an unknown option${mayHoldSecret(key) ? '' : ` "${key}"`}`,
    didYouMean(key, TARGET_SETTING_NAMES) ?? `There are ${TARGET_SETTING_NAMES.join(', ')}.`,
  )
}
