/** `start`: the proxy itself, from its settings to the end of its last session. */

import { platform } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { gitRunner } from '../../branches/repository.js'
import type { Config } from '../../config/resolve/config.js'
import { systemClock } from '../../core/clock.js'
import { waitFor } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { createLog, type Log } from '../../core/log.js'
import { packageVersion } from '../../core/version.js'
import { Daemon } from '../../daemon/daemon.js'
import type { NewBranchOptions } from '../../daemon/new-branch.js'
import { stateDir } from '../../daemon/state-dir.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import { localAddress } from '../../observe/connection-lines.js'
import { sessionLine } from '../../observe/session-line.js'
import type { Surroundings } from '../invocation/command.js'
import { progressLine } from '../invocation/progress-line.js'
import type { Announcement } from '../running/announcement.js'
import type { AnnouncedProxy } from '../running/running-proxies.js'
import { banner } from './banner.js'
import { type StartUpSignals, signalsDuringStartUp, untilStopped } from './stop.js'

export interface StartOptions {
  readonly surroundings: Pick<
    Surroundings,
    'env' | 'machine' | 'uid' | 'stderr' | 'onSignal' | 'onCrash'
  >
  /** Called again on SIGHUP. Throws what is wrong with the settings. */
  readonly loadConfig: (notice: (text: string) => void) => Promise<Config>
}

/** Resolves to the exit code, when the proxy has stopped. Errors: kind `config`, before it runs. */
export async function start(options: StartOptions): Promise<number> {
  const startUp = signalsDuringStartUp(options.surroundings.onSignal)
  try {
    return await Promise.race([run(options, startUp), startUp.impatient])
  } catch (error) {
    if (error === startUp.stopping.reason) return 0
    throw error
  }
}

async function run(
  { surroundings, loadConfig }: StartOptions,
  startUp: StartUpSignals,
): Promise<number> {
  // Otherwise a rush of clients makes V8's young generation grow to 32 MB, and it stays so: a sixth of what
  // two thousand sessions need.
  setFlagsFromString('--semi-space-growth-factor=1')
  // 1 MB is collected sooner than other threads are woken, and on a busy machine all sessions wait for those.
  setFlagsFromString('--no-parallel-scavenge')
  const { machine, stderr, onSignal } = surroundings
  const notices: string[] = []
  const loading = loadConfig((text) => notices.push(text))
  const config = await waitFor(loading, startUp.stopping)
  const { settings } = config
  const { logLevel: level, logFormat: format } = settings
  const log = createLog({ level, format, inWords: sessionLine })
  surroundings.onCrash((error) => log.fatal({ err: error }, 'internal error, which is a bug'))
  for (const notice of notices) log.warn(notice)

  const isShown = machine.isTerminal && format === 'pretty' && !settings.quiet
  const progress = isShown ? progressLine(stderr) : undefined
  const proxy = await startDaemon(config, surroundings, log, {
    stopping: startUp.stopping,
    newBranch: {
      isForOneProgram: false,
      tell: (text, isLast) =>
        progress === undefined ? log[isLast ? 'info' : 'debug'](text) : progress.tell(text, isLast),
    },
  }).catch(async (error: unknown) => {
    throw await withOwner(error, surroundings)
  })
  log.load()
  if (settings.unsafeListen) {
    log.warn('unsafe-listen is on: clients beyond this machine may connect without password or TLS')
  }
  const announcing = announce(proxy, surroundings)
  // A SIGHUP that came during start-up waits until others have been told where the proxy listens.
  let tellStarted = (): void => {}
  const started = new Promise<void>((resolve) => {
    tellStarted = resolve
  })
  const reload = async (): Promise<void> => {
    await started
    try {
      await proxy.reload((await loadConfig((text) => log.warn(text))).settings)
      await (await announcing)?.update(runningProxy(proxy))
      log.info({ file: config.configFile }, 'settings read again')
    } catch (error) {
      // The running settings stay: a mistake in the file must not stop the proxy.
      const { configFile: file } = config
      const outcome = 'settings not taken, the old ones stay'
      if (error instanceof ProxyError) {
        const { message, detail, hint } = error
        log.error({ file, detail, hint }, `${outcome}: ${message}`)
      } else log.error({ err: error, file }, outcome)
    }
  }
  const canReload = config.configFile !== undefined && machine.platform !== 'win32'
  const hungUp = startUp.over()
  const stopped = untilStopped({
    proxy,
    onSignal,
    reload: canReload ? reload : undefined,
    hungUp,
    log,
  })
  // Signals are handled from here on: a program that reads these lines may send one, or look for us.
  await announcing
  if (!settings.quiet && machine.isTerminal && settings.logFormat === 'pretty') {
    signedIn(proxy).then(
      () => stderr.write(banner(proxy)),
      () => {},
    )
  } else {
    log.info({ version: packageVersion() }, 'lakebase-proxy has started')
    for (const { settings: target, listener } of proxy.targets) {
      log.info({ target: target.name, addresses: listener.addresses }, 'listening')
    }
    if (proxy.adminUrl !== undefined) log.info({ url: proxy.adminUrl }, 'status page')
  }
  tellStarted()
  return stopped.finally(async () => (await announcing)?.remove())
}

/** Where a port is in use by another proxy of this user: the name of its process, node, says little. */
async function withOwner(
  error: unknown,
  place: Pick<Surroundings, 'env' | 'machine' | 'uid'>,
): Promise<unknown> {
  if (!(error instanceof ProxyError && error.kind === 'config')) return error
  const { code, port } = (error.cause ?? {}) as { code?: unknown; port?: unknown }
  if (code !== 'EADDRINUSE' || typeof port !== 'number') return error
  const { ownerOf, runningProxies } = await import('../running/running-proxies.js')
  const owner = ownerOf(port, await runningProxies(place))
  const [, inUse, holder] = /^(.*?)(?: by .* \(pid (\d+)\))?$/.exec(error.message) ?? []
  if (owner === undefined || (holder !== undefined && holder !== String(owner.pid))) return error
  const { names, pid } = owner
  const message = `${inUse} by a running lakebase-proxy: ${names} (pid ${pid})`
  return new ProxyError('config', message, { cause: error, hint: error.hint })
}

/** Never rejects. */
async function announce(
  proxy: Daemon,
  place: Pick<Surroundings, 'env' | 'machine' | 'uid'>,
): Promise<Announcement | undefined> {
  const found = runningProxy(proxy)
  const { Announcement } = await import('../running/announcement.js')
  return Announcement.make(place, found)
}

/** What the other commands find it by. */
function runningProxy({ adminUrl: admin, targets, localCaFile: caFile }: Daemon): AnnouncedProxy {
  return {
    admin,
    targets: targets.map(({ settings, listener, workspace }) => ({
      name: settings.name,
      text: settings.text,
      workspace: workspace?.workspace,
      address: localAddress(settings, { port: listener.port, caFile }),
    })),
  }
}

/** Listening does not wait for the sign-in, but the banner does for a moment: it shows the identity. */
async function signedIn(proxy: Daemon): Promise<void> {
  const asked = proxy.targets.map((target) => target.prime().catch(() => {}))
  await Promise.race([
    Promise.all(asked),
    new Promise<void>((resolve) => systemClock.after(BANNER_WAIT_MS, resolve)),
  ])
}

const BANNER_WAIT_MS = 2_000

export interface StartHow {
  readonly stopping?: AbortSignal
  readonly newBranch?: NewBranchOptions
}

/** Also for `exec` and `demo`. */
export function startDaemon(
  {
    settings,
    databricksEnv,
    programEnv,
  }: Pick<Config, 'settings' | 'databricksEnv' | 'programEnv'>,
  { env, machine }: Pick<Surroundings, 'env' | 'machine'>,
  log: Log,
  { newBranch, stopping }: StartHow = {},
): Promise<Daemon> {
  const { homeDir } = machine
  return Daemon.start({
    settings,
    openWorkspace: workspaceOpener({
      env: databricksEnv,
      programEnv,
      homeDir,
      clock: systemClock,
      log,
    }),
    stateDir: stateDir(env, homeDir),
    log,
    stopping,
    runGit: gitRunner({ programEnv, homeDir, platform: platform() }),
    ...(newBranch && { newBranch }),
  })
}
