/**
 * `service install`, `uninstall` and `status`: lakebase-proxy as a systemd user unit or a launchd
 * agent, with the settings given, started now and at each login. No secret is ever written into
 * it, and `uninstall` leaves nothing behind.
 */

import { execFile } from 'node:child_process'
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import pRetry from 'p-retry'

import { ProxyError } from '../../core/errors.js'
import type { Surroundings } from '../invocation/command.js'
import { type InstallingShell, type InstallOptions, notice, serviceSpec } from './spec.js'
import { launchdAgent, SERVICE_NAME, systemdUnit } from './unit.js'

/** The machine and the programs that run on it, as one argument, so that tests can replace it. */
export interface ServiceMachine extends InstallingShell, Pick<Surroundings, 'uid' | 'stdout'> {
  /** Runs a program to its end. A missing program is a result, not an error. */
  readonly run: (program: string, args: readonly string[]) => Promise<ProgramResult>
}

export interface ProgramResult {
  /** 127 when the program does not exist. */
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Resolves to the exit code, like all commands; with `printOnly` the unit or agent only goes to
 * stdout. Throws ProxyError for what cannot be installed.
 */
export async function installService(
  options: InstallOptions & { readonly printOnly: boolean },
  machine: ServiceMachine,
): Promise<0 | 1> {
  const place = placeOf(machine)
  const spec = serviceSpec(options, machine)
  const text =
    place.kind === 'systemd' ? systemdUnit(spec) : launchdAgent({ ...spec, logFile: place.logFile })
  if (options.printOnly) {
    machine.stdout.write(text)
    return 0
  }
  await mkdir(dirname(place.file), { recursive: true })
  // The file holds host names and paths, so only its user may read it. An existing file would keep its mode.
  await rm(place.file, { force: true })
  await writeFile(place.file, text, { mode: 0o600 })
  const failed = await start(place, machine)
  if (failed !== undefined) {
    notice(machine, `wrote ${place.file}, but could not start it: ${failed}`)
    return 1
  }
  notice(machine, `installed ${place.file}, started now and at each login`)
  notice(machine, `logs: ${place.logs}`)
  if (place.kind === 'systemd') {
    notice(machine, 'it stops when you log out; to keep it running: loginctl enable-linger')
  } else if (spec.waitArgs !== undefined) {
    notice(machine, `"${SERVICE_NAME} ${spec.waitArgs.join(' ')}" returns when it is ready`)
  }
  return 0
}

export async function uninstallService(machine: ServiceMachine): Promise<0 | 1> {
  const place = placeOf(machine)
  const answer =
    place.kind === 'systemd'
      ? await machine.run('systemctl', ['--user', 'disable', '--now', place.unit])
      : await machine.run('launchctl', ['bootout', place.service])
  const stopped =
    answer.exitCode === 0 || (place.kind === 'launchd' && answer.exitCode === NOT_LOADED)
  // The files are removed even when the service manager failed: it may not know them, or not run.
  const { length: found } = (await Promise.all(place.files.map(remove))).filter(Boolean)
  for (const directory of place.directories) await rmdir(directory).catch(() => undefined)
  if (place.kind === 'systemd') {
    await machine.run('systemctl', ['--user', 'daemon-reload'])
    await machine.run('systemctl', ['--user', 'reset-failed', place.unit])
  }
  if (found === 0 && answer.exitCode !== 0) {
    notice(machine, `${SERVICE_NAME} is not installed as a service`)
    return 0
  }
  if (!stopped) {
    notice(machine, `removed ${place.file}, but could not stop the service: ${reasonOf(answer)}`)
    return 1
  }
  notice(machine, `stopped the service and removed ${place.file}`)
  return 0
}

/** Exit code 0 when the service runs. */
export async function serviceStatus(machine: ServiceMachine): Promise<0 | 1> {
  const place = placeOf(machine)
  if (place.kind === 'launchd') {
    const printed = await machine.run('launchctl', ['print', place.service])
    if (printed.exitCode !== 0) return notInstalled(place, machine)
    const field = (name: string) =>
      new RegExp(`^\\s*${name} = (.*)$`, 'm').exec(printed.stdout)?.[1]
    const running = field('state') === 'running'
    const pid = field('pid')
    const exit = field('last exit code')
    const detail = running ? `pid ${pid ?? 'unknown'}` : `last exit code ${exit ?? 'unknown'}`
    machine.stdout.write(describe(place, running ? 'running' : 'not running', detail))
    return running ? 0 : 1
  }
  const shown = await machine.run('systemctl', [
    '--user',
    'show',
    place.unit,
    '--property=LoadState,ActiveState,SubState,MainPID,ExecMainStatus,NRestarts',
  ])
  if (shown.exitCode !== 0) {
    notice(machine, `could not ask systemd: ${reasonOf(shown)}`)
    return 1
  }
  const field = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(shown.stdout)?.[1] ?? ''
  if (field('LoadState') === 'not-found') return notInstalled(place, machine)
  const running = field('ActiveState') === 'active'
  const detail = running ? `pid ${field('MainPID')}` : `last exit code ${field('ExecMainStatus')}`
  const restarts = `restarts: ${field('NRestarts')}`
  machine.stdout.write(
    describe(place, `${field('ActiveState')} (${field('SubState')})`, detail, restarts),
  )
  return running ? 0 : 1
}

/** `machine.run` for real. */
export function runProgram(program: string, args: readonly string[]): Promise<ProgramResult> {
  return new Promise((resolve) => {
    // systemctl start returns after the drain of the old one and our `wait`.
    execFile(program, [...args], { timeout: 180_000 }, (error, stdout, stderr) => {
      if (error === null) resolve({ exitCode: 0, stdout, stderr })
      else if (error.code === 'ENOENT') {
        resolve({ exitCode: 127, stdout, stderr: `${program} was not found` })
      } else {
        const exitCode = typeof error.code === 'number' ? error.code : 1
        resolve({ exitCode, stdout, stderr: stderr || error.message })
      }
    })
  })
}

interface PlaceOnDisk {
  /** The unit or agent. */
  readonly file: string
  /** All files that `install` or the service itself writes. */
  readonly files: readonly string[]
  /** The folders that are removed when they are empty, the innermost first. */
  readonly directories: readonly string[]
  /** Where to read the log, as a command. */
  readonly logs: string
}
type Place =
  | (PlaceOnDisk & { readonly kind: 'systemd'; readonly unit: string })
  | (PlaceOnDisk & {
      readonly kind: 'launchd'
      readonly domain: string
      readonly service: string
      readonly logFile: string
    })

function placeOf({ machine, env, uid }: ServiceMachine): Place {
  const { platform, homeDir } = machine
  if (platform === 'linux') {
    // A relative XDG_CONFIG_HOME is to be ignored, says its specification.
    const xdg = env.XDG_CONFIG_HOME
    const config = xdg?.startsWith('/') ? xdg : join(homeDir, '.config')
    const directory = join(config, 'systemd', 'user')
    const unit = `${SERVICE_NAME}.service`
    const file = join(directory, unit)
    const wants = join(directory, 'default.target.wants')
    return {
      kind: 'systemd',
      unit,
      file,
      files: [file, join(wants, unit)],
      directories: [wants, directory, dirname(directory)],
      logs: `journalctl --user -u ${SERVICE_NAME}`,
    }
  }
  if (platform === 'darwin') {
    const file = join(homeDir, 'Library', 'LaunchAgents', `${SERVICE_NAME}.plist`)
    const logFile = join(homeDir, 'Library', 'Logs', `${SERVICE_NAME}.log`)
    return {
      kind: 'launchd',
      domain: `gui/${uid}`,
      service: `gui/${uid}/${SERVICE_NAME}`,
      file,
      files: [file, logFile],
      directories: [],
      logFile,
      logs: `tail -f ${logFile}`,
    }
  }
  const name = platform === 'win32' ? 'Windows' : platform
  throw new ProxyError('config', `"service" is not available on ${name}`, {
    hint: `Let the system's own scheduler run "${SERVICE_NAME} start …" at logon.`,
  })
}

// launchctl returns from `bootout` while the old one still drains, and says until then EIO, or
// "operation already in progress", to `bootstrap`.
const BOOTING_OUT = new Set([5, 37])
// ESRCH from launchctl: no such service, which is what was wanted.
const NOT_LOADED = 3

/** Undefined once it runs, else why not. A service that is there already is replaced. */
async function start(place: Place, { run }: ServiceMachine): Promise<string | undefined> {
  if (place.kind === 'launchd') {
    await run('launchctl', ['bootout', place.service])
    await run('launchctl', ['enable', place.service])
    const bootstrap = () => run('launchctl', ['bootstrap', place.domain, place.file])
    const started = await pRetry(
      async () => {
        const result = await bootstrap()
        if (BOOTING_OUT.has(result.exitCode)) throw new Error(reasonOf(result))
        return result
      },
      { retries: 10, minTimeout: 1_000, factor: 1 },
    ).catch(bootstrap)
    return started.exitCode === 0 ? undefined : reasonOf(started)
  }
  for (const args of [['daemon-reload'], ['enable', place.unit], ['restart', place.unit]]) {
    const done = await run('systemctl', ['--user', ...args])
    if (done.exitCode !== 0) return reasonOf(done)
  }
  return undefined
}

function reasonOf({ exitCode, stderr }: ProgramResult): string {
  return stderr.trim() || `exit code ${exitCode}`
}

async function remove(path: string): Promise<boolean> {
  try {
    await rm(path)
    return true
  } catch {
    return false
  }
}

function describe(place: Place, ...facts: string[]): string {
  return `${SERVICE_NAME}: ${facts.join(', ')}\n  ${place.file}\n  logs: ${place.logs}\n`
}

function notInstalled(place: Place, machine: ServiceMachine): 1 {
  machine.stdout.write(`${SERVICE_NAME}: not installed as a service (no ${place.file})\n`)
  return 1
}
