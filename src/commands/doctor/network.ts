/** The part of `doctor` between here and the server: DNS, TCP, TLS, login, a query. */

import net from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { TargetSettings } from '../../config/resolve/settings.js'
import { systemClock } from '../../core/clock.js'
import { type Deadline, waitFor, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import type { LoginCredential } from '../../credentials/credentials.js'
import type { ConnectedWorkspace } from '../../databricks/lakebase/connect-workspace.js'
import type { DatabaseRole } from '../../databricks/lakebase/roles.js'
import type { LakebaseDatabase } from '../../databricks/lakebase/workspace.js'
import { Resolver } from '../../endpoints/resolver.js'
import { askServer } from '../../upstream/ask-server.js'
import { dial, dialError } from '../../upstream/dial.js'
import { login } from '../../upstream/login.js'
import { refusalError, saslError } from '../../upstream/refusal.js'
import { UpstreamTls } from '../../upstream/tls-context.js'
import { toWireText } from '../../wire/frontend.js'
import type { DoctorReport } from './report.js'

// The system's look-up may hang for much longer, and does not hear of a Ctrl-C.
const DNS_LIMIT_MS = 10_000
const TCP_LIMIT_MS = 5_000
const ROUND_TRIPS = 3

/** Resolves the host by the system and by DNS servers, and shows both. Returns the addresses to try. */
export async function resolveAddresses(
  report: DoctorReport,
  { hostaddr }: TargetSettings,
  host: string,
  { servers, signal }: { servers: readonly string[]; signal: AbortSignal },
): Promise<readonly string[]> {
  if (hostaddr !== undefined) {
    report.skip('DNS', `hostaddr ${hostaddr} is dialled for ${host}`)
    return [hostaddr]
  }
  const resolver = new Resolver({ servers, clock: systemClock })
  const found = await report.step('DNS', async () => {
    const [system, direct] = await withDeadline(within(DNS_LIMIT_MS, signal), (limit) =>
      Promise.allSettled([
        waitFor(resolver.bySystem(host), limit),
        waitFor(resolver.byServers(host), limit),
      ]),
    )
    const said = (answer: typeof system): string =>
      answer.status === 'fulfilled'
        ? answer.value.addresses.join(', ')
        : `no answer (${(answer.reason as Error).message})`
    const text = `${host}: by the system ${said(system)}; by DNS servers ${said(direct)}`
    const good = [system, direct].find((answer) => answer.status === 'fulfilled')
    if (good?.status !== 'fulfilled') {
      throw new ProxyError('resolve', `could not translate host name "${host}" to address`, {
        detail: text,
        hint: 'Check the network or a VPN; or name a DNS server that knows it with --resolver IP, or its address with --hostaddr IP.',
      })
    }
    const { addresses } = good.value
    return { value: addresses, text: addresses.join(', '), detail: text }
  })
  return found ?? []
}

/** What to log in with. A role is named also where clients name it: then the most likely one. */
export type DoctorLogin = LoginCredential & { readonly user: string }

/** What the workspace's side of things has found out. */
export interface Known {
  readonly workspace?: ConnectedWorkspace
  /** Who is signed in. */
  readonly identity?: string
  readonly database?: LakebaseDatabase
  readonly credential?: DoctorLogin | undefined
  /** Why the target refuses logins, from its state. */
  readonly refusal?: ProxyError | undefined
}

export interface ServerCheck extends Known {
  readonly target: TargetSettings
  readonly host: string
  readonly addresses: readonly string[]
  readonly signal: AbortSignal
}

export async function checkServer(report: DoctorReport, check: ServerCheck): Promise<void> {
  const { target, host, addresses, credential, signal } = check
  const port = target.upstreamPort
  if (addresses.length === 0) {
    report.skip(['TCP', 'TLS', 'login', 'query'], 'there is no address')
    return
  }
  const endpoint = { host, port, addresses, database: check.database }
  const reachable: string[] = []
  for (const address of addresses) {
    const answered = await report.step('TCP', async () => {
      await connectOnce({ ...endpoint, addresses: [address] }, address, signal)
      return { value: address, text: `${address}, port ${port} answers` }
    })
    if (answered !== undefined) reachable.push(answered)
  }
  const [address] = reachable
  if (address === undefined) {
    report.skip(['TLS', 'login', 'query'], 'no address answers')
    return
  }
  const dialled = await report.step('TLS', async () => {
    const tls = new UpstreamTls(target)
    const options = { tls, clock: systemClock, dialled: () => {} }
    const { socket } = await dial({ ...endpoint, addresses: [address] }, options, signal)
    return { value: socket, ...tlsText(socket, host) }
  })
  if (dialled === undefined || credential === undefined || check.refusal !== undefined) {
    dialled?.destroy()
    const why =
      check.refusal?.message ?? (dialled === undefined ? 'no TLS connection' : 'no credential')
    report.skip(['login', 'query'], why)
    return
  }
  await checkLogin(report, dialled, credential, check)
  dialled.destroy()
}

async function checkLogin(
  report: DoctorReport,
  socket: TLSSocket,
  credential: DoctorLogin,
  check: ServerCheck,
): Promise<void> {
  const { target, signal } = check
  const { user } = credential
  const { database } = target
  let rolesAreHidden = false
  const ready = await report.step('login', async () => {
    const parameters = { user, database, application_name: 'lakebase-proxy doctor' }
    const wire = new Map(Object.entries(parameters).map(([name, text]) => [name, toWireText(text)]))
    const result = await login(socket, wire, credential, signal)
    if (result.outcome === 'sasl required') throw saslError()
    if (result.outcome === 'refused') {
      const error = refusalError(result, { user, method: credential.method })
      const roles = await rolesOf(check)
      rolesAreHidden = roles === undefined && credential.method === 'token'
      throw roles === undefined ? error : (missingRole(roles, check, user, error) ?? error)
    }
    return { value: true, text: `role ${user}, database ${database}` }
  })
  if (rolesAreHidden) {
    const fix = `Ask an administrator whether there is a role "${user}".`
    report.warn('roles', 'the workspace does not let us see which roles there are', fix)
  }
  if (ready === undefined) return report.skip('query', 'not logged in')
  await report.step('query', async () => {
    const version = await askServer(socket, 'select version()', signal)
    const startedAt = systemClock.monotonic()
    for (let trip = 0; trip < ROUND_TRIPS; trip++) await askServer(socket, 'select 1', signal)
    const ms = Math.round((systemClock.monotonic() - startedAt) / ROUND_TRIPS)
    return { value: true, text: `${version?.split(' on ')[0]}, round trip ${ms} ms` }
  })
}

/** Undefined where the workspace does not let us read the list, and for a static URL. */
async function rolesOf({
  workspace,
  database,
  signal,
}: ServerCheck): Promise<readonly DatabaseRole[] | undefined> {
  if (database === undefined) return undefined
  return workspace?.listRoles(database, signal).catch(() => undefined)
}

/** The role list says more than the server does. */
function missingRole(
  roles: readonly DatabaseRole[],
  { database, target, identity }: ServerCheck,
  user: string,
  refused: ProxyError,
): ProxyError | undefined {
  const role = roles.find(({ name }) => name === user)
  if (role?.login === 'token') return undefined
  const message =
    role === undefined
      ? `role "${user}" does not exist in ${database?.name}`
      : `role "${user}" does not log in with a token`
  const create = `Create it for this identity in the workspace, or as an administrator in psql: select databricks_create_role('${user}', 'USER');`
  return new ProxyError('identity', message, {
    cause: refused,
    detail: refused.message,
    hint:
      target.login.as === 'role' && identity !== undefined && identity !== user
        ? `Check --user ${user}; the identity is ${identity} (--user identity). ${create}`
        : create,
  })
}

async function connectOnce(
  endpoint: Parameters<typeof dialError>[0],
  address: string,
  signal: AbortSignal,
): Promise<void> {
  const socket = net.connect({ host: address, port: endpoint.port })
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject)
  })
  try {
    await withDeadline(within(TCP_LIMIT_MS, signal), (limit) => waitFor(connected, limit))
  } catch (error) {
    throw dialError(endpoint, address, error)
  } finally {
    socket.destroy()
  }
}

function within(ms: number, signal: AbortSignal): Deadline {
  return {
    clock: systemClock,
    ms,
    reason: () => new Error('timeout expired'),
    signals: [signal],
  }
}

function tlsText(socket: TLSSocket, host: string): { text: string; detail: string } {
  const { issuer, valid_to: validTo } = socket.getPeerCertificate()
  const by = issuer?.CN ?? issuer?.O ?? 'an unnamed authority'
  return {
    text: `${socket.getProtocol()}, certificate by ${by}`,
    detail: `for ${host}, valid to ${validTo}`,
  }
}
