/**
 * `doctor`: checks every step from the settings to `select version()`. Each result is printed as soon
 * as it is known, with a fix where it failed. A step that depends on a failed one is skipped.
 * Without a TARGET it checks the sign-in.
 */

import type { Config } from '../../config/resolve/config.js'
import { likelyRoleOf } from '../../config/resolve/login.js'
import type { TargetSettings } from '../../config/resolve/settings.js'
import { systemClock } from '../../core/clock.js'
import { withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { shownJson } from '../../core/plain-text.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import type { ConnectedWorkspace } from '../../databricks/lakebase/connect-workspace.js'
import { refusalByState } from '../../endpoints/availability.js'
import { hostIn, hostOf } from '../../endpoints/endpoints.js'
import { connectionLines, shellWord } from '../../observe/connection-lines.js'
import { asArguments, type Invocation } from '../invocation/command.js'
import { noticeLog } from '../invocation/notice-log.js'
import { oneTarget } from '../invocation/one-target.js'
import { type RunningFile, runningProxies } from '../running/running-proxies.js'
import { isOfWorkspace } from '../running/served-as.js'
import { Layout, verdict } from './layout.js'
import { checkLocalPort } from './local-port.js'
import { checkServer, type DoctorLogin, type Known, resolveAddresses } from './network.js'
import { DoctorReport } from './report.js'

const LIMIT_MS = 120_000
const CLOCK_TOLERANCE_MS = 60_000

/** Exit code 0 when no step failed, 2 when the settings are wrong, else 1. */
export async function doctor(invocation: Invocation): Promise<number> {
  const { stdout, onSignal } = invocation.surroundings
  const json = invocation.options.has('json')
  const layout = new Layout({ stdout, verbose: invocation.options.has('verbose') })
  const report = new DoctorReport(json ? { begins() {}, ended() {} } : layout)
  const interrupted = new AbortController()
  const stopListening = onSignal(() => {
    interrupted.abort(new ProxyError('stopping', 'interrupted'))
  })
  const reason = (): ProxyError => new ProxyError('dial', 'timeout expired')
  const deadline = { clock: systemClock, ms: LIMIT_MS, reason, signals: [interrupted.signal] }
  let next: string | undefined
  try {
    next = await withDeadline(deadline, (limit) => examine(invocation, report, limit))
  } finally {
    stopListening()
  }
  stdout.write(
    json ? `${shownJson(report.results)}\n` : `\n${verdict(report.failed, next ?? '')}\n`,
  )
  if (report.failed.length === 0) return 0
  return next === undefined ? 2 : 1
}

/** What to type when all is well; undefined when the settings are wrong. */
async function examine(
  invocation: Invocation,
  report: DoctorReport,
  signal: AbortSignal,
): Promise<string | undefined> {
  const asked = await settingsStep(invocation, report)
  if (asked === undefined) {
    report.skip([...WORKSPACE_STEPS, ...SERVER_STEPS, 'local port'], 'the settings are wrong')
    return undefined
  }
  const running = await runningProxies(invocation.surroundings)
  const { config, target } = asked
  if (target?.target.kind === 'static') {
    report.skip(WORKSPACE_STEPS, 'a static URL asks no workspace')
    const { user: likely, password } = target.target
    const user = likelyRoleOf(target, likely)
    const known: Known = { credential: { user, password, method: 'password' } }
    await checkConnection(report, target, config.settings.resolver, known, signal)
    await checkLocalPort(report, target, { running, admin: config.settings.admin })
    return connectLine(target, invocation, running)
  }
  const isAsked = target === undefined && canAsk(invocation)
  const profile = isAsked ? await askProfile(config, invocation) : undefined
  const named = target ?? { ...config.signIn, profile: profile ?? config.signIn.profile }
  const workspace = await openWorkspace(report, config, named, invocation)
  try {
    const identity = await checkSignIn(report, workspace, signal)
    const picked =
      target ??
      (isAsked && identity !== undefined && workspace !== undefined
        ? await pick(invocation, workspace, profile, signal)
        : undefined)
    if (picked === undefined) {
      report.skip(['target', 'credential', ...SERVER_STEPS, 'local port'], 'no target is named')
      return 'All good: the sign-in works. Check a target with: lakebase-proxy doctor TARGET'
    }
    const known = await checkWorkspace(report, workspace, identity, picked, signal)
    await checkConnection(report, picked, config.settings.resolver, known, signal)
    await checkLocalPort(report, picked, { running, admin: config.settings.admin })
    return connectLine(picked, invocation, running, workspace?.host)
  } finally {
    await workspace?.close()
  }
}

const WORKSPACE_STEPS = ['sign-in', 'workspace', 'identity', 'target', 'credential']
const SERVER_STEPS = ['DNS', 'TCP', 'TLS', 'login', 'query']

interface Asked {
  readonly config: Config
  /** Undefined where none is named. */
  readonly target: TargetSettings | undefined
}

async function settingsStep(
  invocation: Invocation,
  report: DoctorReport,
): Promise<Asked | undefined> {
  return report.step('settings', async () => {
    const asked = await askedTarget(invocation)
    const { given } = asked.config
    const text = given.length === 0 ? 'all are defaults' : `${given.length} set`
    const detail = given.map(({ setting, value, where }) => `${setting}=${value} (${where})`)
    const hint = given.length === 0 ? '' : '; --verbose shows which and where'
    return { value: asked, text: `${text}${hint}`, detail: detail.join(', ') || undefined }
  })
}

async function askedTarget(invocation: Invocation): Promise<Asked> {
  if (invocation.operands.length > 0) return oneTarget(invocation)
  const config = await invocation.loadConfig({ targets: [], targetOptional: true })
  if (config.settings.targets.length === 0) return { config, target: undefined }
  return oneTarget(invocation)
}

function canAsk({ surroundings: { stdin, stderr }, options }: Invocation): boolean {
  return stdin.isTTY === true && stderr.isTTY === true && !options.has('json')
}

async function askProfile(
  { databricksEnv, signIn }: Config,
  { surroundings }: Invocation,
): Promise<string | undefined> {
  const { pickProfile } = await import('../workspace/pick-target.js')
  return pickProfile({ databricksEnv, ...signIn }, surroundings)
}

/** Where the sign-in works and no target is named. */
async function pick(
  invocation: Invocation,
  workspace: ConnectedWorkspace,
  profile: string | undefined,
  signal: AbortSignal,
): Promise<TargetSettings | undefined> {
  const { databases } = await workspace.listDatabases(signal)
  if (databases.length === 0) return undefined
  const { pickDatabase, withProfile } = await import('../workspace/pick-target.js')
  const name = await pickDatabase(databases, workspace.host, invocation.surroundings)
  const config = await invocation.loadConfig({ targets: [withProfile(name, profile)] })
  return config.settings.targets[0]
}

function connectLine(
  { name, target, listen }: TargetSettings,
  { flags }: Invocation,
  running: readonly RunningFile[],
  workspace?: string,
): string {
  const served = running.flatMap(({ targets }) => targets)
  const ours = served.find(
    (each) =>
      each.name === name && each.address.port === listen.port && isOfWorkspace(each, workspace),
  )
  if (ours !== undefined) return `All good. Connect with: ${connectionLines(ours.address).psql}`
  // A URL has a password, which is not repeated.
  const word = target.kind === 'static' ? 'TARGET' : shellWord(name)
  const given = asArguments(flags).map(shellWord).join(' ')
  return `All good. Connect with: lakebase-proxy exec ${word}${given && ` ${given}`} -- psql`
}

async function openWorkspace(
  report: DoctorReport,
  { databricksEnv: env, programEnv }: Config,
  named: Pick<TargetSettings, 'databricksHost' | 'profile'>,
  { surroundings }: Invocation,
): Promise<ConnectedWorkspace | undefined> {
  const { homeDir } = surroundings.machine
  const log = noticeLog(surroundings.stderr)
  const options = { env, programEnv, homeDir, clock: systemClock, log }
  const open = workspaceOpener({ ...options, oneTry: true })
  return report.step('sign-in', async () => {
    const workspace = await open(named)
    const { host, profile, settings } = workspace.describeSignIn()
    const detail = settings.map(({ name, source }) => `${name} from ${source}`).join(', ')
    const which = profile === undefined ? 'no profile' : `profile ${profile}`
    return { value: workspace, text: `${host} (${which})`, detail }
  })
}

/** Resolves to the identity. */
async function checkSignIn(
  report: DoctorReport,
  workspace: ConnectedWorkspace | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (workspace === undefined) {
    report.skip(['workspace', 'identity'], 'no sign-in')
    return undefined
  }
  const answers = await report.step('workspace', () => reach(workspace, signal))
  if (answers === undefined) {
    report.skip('identity', 'the workspace does not answer')
    return undefined
  }
  return report.step('identity', async () => {
    const value = await workspace.identity(signal)
    const { type } = workspace.describeSignIn()
    return { value, text: `signed in as ${value}${type === undefined ? '' : ` by ${type}`}` }
  })
}

async function checkWorkspace(
  report: DoctorReport,
  workspace: ConnectedWorkspace | undefined,
  identity: string | undefined,
  target: TargetSettings,
  signal: AbortSignal,
): Promise<Known> {
  if (workspace === undefined || identity === undefined) {
    report.skip(['target', 'credential'], 'not signed in')
    return {}
  }
  const database = await report.step('target', () => findTarget(workspace, target, signal))
  const refusal = database && refusalByState(database, target)
  if (database === undefined) {
    report.skip('credential', 'there is no target to make one for')
    return { workspace, identity }
  }
  const credential = await report.step('credential', async () => {
    const group = target.login.as === 'group' ? target.login.name : undefined
    const options = { ttlMs: target.tokenTtlMs, group }
    const { token, expiresAt } = await workspace.mintCredential(database, options, signal)
    const seconds = Math.round((expiresAt - systemClock.now()) / 1000)
    const life = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
    const user = likelyRoleOf(target, identity)
    const value: DoctorLogin = { user, password: token, method: 'token' }
    return { value, text: `a token that lives ${life}` }
  })
  return { workspace, identity, database, credential, refusal }
}

async function reach(workspace: ConnectedWorkspace, signal: AbortSignal) {
  const { clockDifferenceMs, issuer } = await workspace.reach(signal)
  const shown = issuer === undefined ? 'no TLS' : `certificate by ${issuer}`
  const off = Math.abs(clockDifferenceMs ?? 0)
  const clock = `clocks differ by ${Math.round(off / 1000)} s`
  const text = `answers, ${shown}, ${clock}`
  if (off <= CLOCK_TOLERANCE_MS) return { value: true, text }
  const fix =
    "Set this machine's clock (timedatectl set-ntp true). Token lives are counted right all the same, certificates may not be."
  return { value: true, text, outcome: 'warning' as const, fix }
}

async function findTarget(
  workspace: ConnectedWorkspace,
  target: TargetSettings,
  signal: AbortSignal,
) {
  const value = await workspace.findDatabase(target.target, signal)
  const refusal = refusalByState(value, target)
  // The target exists, so the next steps can still be tried, but a login will be refused.
  const text = `${value.name}, ${value.apiState}`
  const detail = value.kind
  if (refusal === undefined) {
    hostOf(target, value) // throws the reason when there is no host
    return { value, text, detail }
  }
  const fix = refusal.hint
  return { value, text: `${text}: ${refusal.message}`, outcome: 'failed' as const, fix }
}

async function checkConnection(
  report: DoctorReport,
  target: TargetSettings,
  servers: readonly string[],
  known: Known,
  signal: AbortSignal,
): Promise<void> {
  const isNamed = target.target.kind === 'static' || target.target.kind === 'host'
  if (known.database === undefined && !isNamed) {
    report.skip(SERVER_STEPS, 'there is no target to connect to')
    return
  }
  const host = hostIn(target, known.database)
  if (host === undefined) {
    report.skip(SERVER_STEPS, 'it has no host')
    return
  }
  const addresses = await resolveAddresses(report, target, host, { servers, signal })
  await checkServer(report, { ...known, target, host, addresses, signal })
}
