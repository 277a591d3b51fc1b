/**
 * `postgresql://user:password@host:port/database?parameters` as libpq reads it
 * (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS), except that
 * the server is always verified in full. No error here repeats what may be a piece of a password.
 */

import { isIP } from 'node:net'

import type { ProxyError } from '../../core/errors.js'
import { didYouMean } from '../../core/nearest.js'
import { mayHoldSecret } from '../../core/plain-text.js'
import { Secret } from '../../core/secret.js'
import type { TargetSettingName } from './table.js'
import {
  cut,
  decode,
  lakebaseHost,
  malformed,
  type OnMistake,
  type ParsedTarget,
  readEach,
  type Target,
} from './target-text.js'

interface Draft {
  user: string
  password: string
  host: string
  database: string
  /** The parts that its name shows, each as it was written. */
  readonly shown: { user: string; host: string; port: string; database: string }
  readonly options: Map<TargetSettingName, string>
}

const FORM = 'The form is postgresql://user:password@host:port/database.'
const ENCODE = 'In a user name or password, write / as %2F, ? as %3F and @ as %40.'

export function parsePostgresUrl(text: string, onMistake: OnMistake): ParsedTarget {
  const [scheme, rest] = cut(text, '://')
  const { authority, path, query } = splitRest(rest ?? '')
  const at = authority.lastIndexOf('@')
  const [user, password] = cut(authority.slice(0, Math.max(0, at)), ':')
  const draft: Draft = {
    user: decode(user, 'the user of the URL'),
    password: decode(password ?? '', 'the password of the URL'),
    host: '',
    database: decode(path, 'the database of the URL'),
    shown: { user, host: '', port: '', database: path },
    options: new Map(),
  }
  readHostAndPort(authority.slice(at + 1), draft)
  readParameters(query, draft, onMistake)
  return { name: nameOf(scheme, draft), target: targetOf(draft), options: draft.options }
}

/** The name of the target: the parts by which targets differ, from anywhere in the URL. */
function nameOf(scheme: string, { shown: { user, host, port, database } }: Draft): string {
  const parts = [user && `${user}@`, host, port && `:${port}`, database && `/${database}`]
  return `${scheme}://${parts.join('')}`
}

function splitRest(rest: string): { authority: string; path: string; query: string } {
  const authority = /^[^/?]*/.exec(rest)![0]
  const [pathPart, query] = cut(rest.slice(authority.length), '?')
  if (!authority.includes('@') && rest.includes('@')) {
    throw malformed('the URL has a / or ? before its @', ENCODE)
  }
  const path = pathPart.replace(/^\//, '')
  if (path.includes('/')) throw malformed('the URL has more than a database in its path', FORM)
  return { authority, path, query: query ?? '' }
}

function readHostAndPort(text: string, draft: Draft): void {
  const [, v6, named, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? []
  if (v6 === undefined && named === undefined) {
    throw malformed('the URL has no readable host', `${FORM} An IPv6 address stands in brackets.`)
  }
  draft.host = readHost(decode(v6 ?? named ?? '', 'the host of the URL'), v6 !== undefined)
  draft.shown.host = v6 === undefined ? (named ?? '') : `[${v6}]`
  if (port !== undefined && port !== '') readPort(port, draft)
}

function readHost(host: string, bracketed = false): string {
  if (host.includes(',')) {
    throw malformed('the URL names several hosts', 'Give each as a TARGET of its own.')
  }
  if (host.startsWith('/')) {
    throw malformed(
      'the URL names a Unix socket',
      'A server is reached by TCP and TLS: name its host.',
    )
  }
  const right = bracketed || host.includes(':') ? isIP(host) === 6 : /^[A-Za-z0-9_.-]*$/.test(host)
  if (!right || host.length > 253) throw malformed('the URL has no readable host', FORM)
  return host
}

function readPort(port: string, draft: Draft): void {
  if (!/^\d{1,5}$/.test(port) || Number(port) === 0 || Number(port) > 65_535) {
    throw malformed('the port of the URL is not a number from 1 to 65535', FORM)
  }
  draft.options.set('upstream-port', port)
  draft.shown.port = port
}

function readParameters(query: string, draft: Draft, onMistake: OnMistake): void {
  const seen = new Set<string>()
  const pairs = query.split('&').filter((pair) => pair !== '')
  // The end of a password with a bare ? and @ in it; the errors below would print it.
  if (pairs.some((pair) => pair.includes('@') && !PARAMETERS.has(cut(pair, '=')[0]))) {
    throw malformed('the URL has a ? before its @', ENCODE)
  }
  readEach(pairs, onMistake, (pair) => {
    const [rawKey, rawValue] = cut(pair, '=')
    const key = decode(rawKey, 'a parameter of the URL')
    const read = PARAMETERS.get(key)
    if (read === undefined) throw unknownParameter(key)
    if (seen.has(key)) throw malformed(`the URL has ${key} twice`, 'Leave one of them out.')
    seen.add(key)
    read(decode(rawValue ?? '', `${key} in the URL`), draft, key)
  })
}

function written(key: string, value: string): string {
  return mayHoldSecret(value) ? `${key} in the URL` : `${key}=${value} in the URL`
}

type ReadParameter = (value: string, draft: Draft, key: string) => unknown

function only(...values: readonly string[]): ReadParameter {
  return (value, _draft, key) => {
    if (values.includes(value)) return
    const reason = REASONS.get(key)
    const comfort = reason === undefined ? 'Leave' : 'The server is verified all the same: leave'
    throw malformed(
      `${written(key, value)} cannot be met${reason ?? ''}`,
      `${comfort} it out, or write ${key}=${values[0]}.`,
    )
  }
}

const REASONS = new Map([
  ['channel_binding', ': the proxy stands between client and server'],
  ['min_protocol_version', ': the proxy speaks 3.0 to the server'],
])

/** What is the affair of the client, or of how the proxy dials. */
const IGNORED = [
  'max_protocol_version application_name fallback_application_name client_encoding connect_timeout',
  'keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout',
  'load_balance_hosts',
].flatMap((names) => names.split(' '))

/** libpq's parameters that we can honour, or that are the client's own affair. */
const PARAMETERS = new Map<string, ReadParameter>([
  ['user', (value, draft) => setPart(draft, 'user', value)],
  ['password', (value, draft) => Object.assign(draft, { password: value })],
  ['dbname', (value, draft) => setPart(draft, 'database', value)],
  ['host', (value, draft) => setPart(draft, 'host', readHost(value))],
  ['port', readPort],
  ['hostaddr', (value, draft) => draft.options.set('hostaddr', value)],
  ['sslmode', readSslmode],
  ['ssl', (value, draft, key) => readSslmode(value === 'true' ? 'require' : value, draft, key)],
  ['sslrootcert', readSslrootcert],
  ['channel_binding', only('prefer', 'disable')],
  ['gssencmode', only('disable', 'prefer')],
  ['sslnegotiation', only('postgres')],
  ['sslsni', only('1')],
  ['sslcompression', only('0')],
  ['ssl_min_protocol_version', only('TLSv1.2', 'TLSv1.1', 'TLSv1')],
  ['min_protocol_version', only('3.0')],
  ['target_session_attrs', only('any', 'read-write', 'primary')],
  ...IGNORED.map((name): [string, ReadParameter] => [name, () => {}]),
])

function setPart(draft: Draft, part: 'user' | 'host' | 'database', value: string): void {
  draft[part] = value
  const isV6 = part === 'host' && value.includes(':')
  draft.shown[part] = isV6 ? `[${value}]` : encodeURIComponent(value)
}

function readSslmode(value: string, draft: Draft, key: string): void {
  if (!['require', 'verify-ca', 'verify-full'].includes(value)) {
    throw malformed(
      `${written(key, value)} is weaker than this proxy allows`,
      'The server is always verified: leave it out, or write sslmode=require.',
    )
  }
  draft.options.set('sslmode', 'verify-full')
}

function readSslrootcert(value: string, draft: Draft): void {
  // `system` is the store that is used anyway.
  if (value !== 'system') draft.options.set('sslrootcert', value)
}

function unknownParameter(key: string): ProxyError {
  const name = mayHoldSecret(key) ? '' : ` "${key}"`
  return malformed(
    `the URL has an unsupported parameter${name}`,
    didYouMean(key, PARAMETERS.keys()) ??
      "Leave it out. A URL's query holds libpq's parameters about the server: what is for an application's driver stays in the application's own URL, and our own settings come by flag, variable or file.",
  )
}

function targetOf(draft: Draft): Target {
  const { user, password, database, options } = draft
  if (draft.host === '') throw malformed('the URL names no host', FORM)
  if (database !== '') options.set('database', database)
  const host = lakebaseHost(draft.host) ?? draft.host
  const keyword = user === 'identity' || user === 'client'
  if (user !== '' && !keyword) options.set('user', user)

  if (password !== '') {
    if (user === '') throw malformed('the URL has a password and no user', FORM)
    return { kind: 'static', host, user, password: new Secret(password) }
  }
  if (lakebaseHost(draft.host) === undefined) {
    throw malformed(
      'the URL has no password, and its host is not one of Lakebase',
      `${FORM} Without a password a Lakebase host, instance-….database.… or ep-….database.…, gets a token.`,
    )
  }
  if (keyword) {
    throw malformed(
      `the URL's user "${user}" means something else here`,
      `Leave the user out of the URL, and set --user.`,
    )
  }
  return { kind: 'host', host }
}
