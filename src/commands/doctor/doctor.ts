/**
 * `doctor`: every step from the settings to `select version()`, each told as soon as it is known,
 * with the fix where it failed. Goes on where it can.
 */

import type { Config } from '../../config/resolve/config.js'
import { likelyRoleOf } from '../../config/resolve/login.js'
import type { TargetSettings } from '../../config/resolve/settings.js'
import { systemClock } from '../../core/clock.js'
import { LinkedAbort } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { shownJson } from '../../core/plain-text.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import type { ConnectedWorkspace } from '../../databricks/lakebase/connect-workspace.js'
import type { LakebaseDatabase } from '../../databricks/lakebase/workspace.js'
import { refusalByState } from '../../endpoints/availability.js'
import { hostIn, hostOf } from '../../endpoints/endpoints.js'
import type { Invocation } from '../cli/command.js'
import { oneTarget } from '../cli/one-target.js'
import { noticeLog } from '../workspace/with-workspace.js'
import { checkLocalPort } from './local-port.js'
import { checkServer, type DoctorLogin, resolveAddresses } from './network.js'
import { DoctorReport, stepLine } from './report.js'

const LIMIT_MS = 120_000
const CLOCK_TOLERANCE_MS = 60_000

/** Exit code 0 when no step failed. Errors: kind `config`, when there are no settings to start from. */
export async function doctor(invocation: Invocation): Promise<number> {
  const { stdout } = invocation.surroundings
  const json = invocation.options.has('json')
  const report = new DoctorReport((result) => {
    if (!json) stdout.write(stepLine(result, stdout.isTTY === true))
  })
  const limit = new LinkedAbort()
  limit.abortAfter(systemClock, LIMIT_MS, () => new ProxyError('dial', 'timeout expired'))
  const stopListening = invocation.surroundings.onSignal(() => {
    limit.abort(new ProxyError('stopping', 'interrupted'))
  })
  let workspace: ConnectedWorkspace | undefined
  try {
    const { config, target } = await oneTarget(invocation)
    await report.step('settings', async () => ({ value: true, text: settingsText(config) }))
    let known: Known = {}
    if (target.target.kind === 'static') {
      report.skip('workspace', 'a static URL asks none')
      const { user: likely, password } = target.target
      const user = likelyRoleOf(target, likely)
      known = { credential: { user, password, method: 'password' } }
    } else {
      workspace = await openWorkspace(report, config, target, invocation)
      known = await checkWorkspace(report, workspace, target, limit.signal)
    }
    await checkConnection(report, target, config.settings.resolver, known, limit.signal)
    await checkLocalPort(report, target, config.settings.admin)
  } finally {
    stopListening()
    limit.release()
    await workspace?.close()
  }
  if (json) stdout.write(`${shownJson(report.results)}\n`)
  return report.failed ? 1 : 0
}

/** What the workspace's side of things has found out. */
interface Known {
  readonly workspace?: ConnectedWorkspace
  readonly database?: LakebaseDatabase | undefined
  readonly credential?: DoctorLogin | undefined
  /** Why nobody gets in, as the target's state has it. */
  readonly refusal?: ProxyError | undefined
}

function settingsText({ given }: Config): string {
  if (given.length === 0) return 'all are defaults'
  return given.map(({ setting, value, where }) => `${setting}=${value} (${where})`).join(', ')
}

async function openWorkspace(
  report: DoctorReport,
  { databricksEnv: env, programEnv }: Config,
  target: TargetSettings,
  { surroundings }: Invocation,
): Promise<ConnectedWorkspace | undefined> {
  const { homeDir } = surroundings.machine
  const log = noticeLog(surroundings.stderr)
  const open = workspaceOpener({ env, programEnv, homeDir, clock: systemClock, log })
  return report.step('sign-in', async () => {
    const workspace = await open(target)
    const { host, profile, settings } = workspace.describeSignIn()
    const from = settings.map(({ name, source }) => `${name} from ${source}`).join(', ')
    const which = profile === undefined ? '' : `, profile ${profile}`
    return { value: workspace, text: `${host}${which}: ${from}` }
  })
}

async function checkWorkspace(
  report: DoctorReport,
  workspace: ConnectedWorkspace | undefined,
  target: TargetSettings,
  signal: AbortSignal,
): Promise<Known> {
  if (workspace === undefined) {
    const steps = ['workspace', 'identity', 'target', 'credential']
    for (const step of steps) report.skip(step, 'nothing says how to sign in')
    return {}
  }
  await report.step('workspace', () => reach(workspace, signal))
  const identity = await report.step('identity', async () => {
    const value = await workspace.identity(signal)
    const { type } = workspace.describeSignIn()
    return { value, text: `signed in as ${value}${type === undefined ? '' : ` by ${type}`}` }
  })
  if (identity === undefined) {
    for (const step of ['target', 'credential']) report.skip(step, 'not signed in')
    return { workspace }
  }
  const database = await report.step('target', () => findTarget(workspace, target, signal))
  const refusal = database && refusalByState(database, target)
  if (database === undefined) {
    report.skip('credential', 'there is no target to make one for')
    return { workspace }
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
  return { workspace, database, credential, refusal }
}

async function reach(workspace: ConnectedWorkspace, signal: AbortSignal) {
  const { clockDifferenceMs, certificate } = await workspace.reach(signal)
  const issuer = certificate === undefined ? 'no TLS' : `certificate by ${certificate.issuer}`
  const off = Math.abs(clockDifferenceMs ?? 0)
  const clock = `clocks differ by ${Math.round(off / 1000)} s`
  const text = `${workspace.host} answers, ${issuer}, ${clock}`
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
  // It is found, and what follows can still be tried; but nobody will get in.
  const text = `${value.kind} ${value.name}, ${value.apiState}`
  if (refusal === undefined) {
    hostOf(target, value) // or it says why there is none
    return { value, text }
  }
  const fix = refusal.hint
  return { value, text: `${text}: ${refusal.message}`, outcome: 'failed' as const, fix }
}

async function checkConnection(
  report: DoctorReport,
  target: TargetSettings,
  servers: readonly string[],
  { workspace, database, credential, refusal }: Known,
  signal: AbortSignal,
): Promise<void> {
  const isNamed = target.target.kind === 'static' || target.target.kind === 'host'
  const steps = ['DNS', 'TCP', 'TLS', 'login', 'query']
  if (database === undefined && !isNamed) {
    for (const step of steps) report.skip(step, 'there is no target to connect to')
    return
  }
  const host = hostIn(target, database)
  if (host === undefined) {
    for (const step of steps) report.skip(step, 'it has no host')
    return
  }
  const addresses = await resolveAddresses(report, target, host, { servers, signal })
  const check = { target, host, addresses, credential, refusal, database, workspace, signal }
  await checkServer(report, check)
}
