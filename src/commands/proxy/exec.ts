/**
 * `exec [TARGET] -- CMD…`: a proxy for the life of one program. The program gets the terminal and
 * the signals, and its exit code is ours; the proxy ends when it does.
 */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { constants } from 'node:os'

import { privateSettings } from '../../config/resolve/shown-as.js'
import { variableOf } from '../../config/schema/table.js'
import { LOCAL_PASSWORD } from '../../config/sources/sources.js'
import { waitFor } from '../../core/deadline.js'
import { describeFailure, ProxyError } from '../../core/errors.js'
import { createLog, type LazyLog } from '../../core/log.js'
import { Secret } from '../../core/secret.js'
import type { Daemon } from '../../daemon/daemon.js'
import { NOT_READY } from '../../daemon/watch.js'
import { isGone } from '../../databricks/lakebase/look-up.js'
import { type LocalAddress, localAddress, localVariables } from '../../observe/connection-lines.js'
import type { ConfigRequest, Invocation, Surroundings } from '../invocation/command.js'
import { oneTarget } from '../invocation/one-target.js'
import { progressLine } from '../invocation/progress-line.js'
import { startDaemon } from './start.js'
import { signalsDuringStartUp } from './stop.js'

/**
 * Resolves to the program's exit code. Errors, before the program is started: kind `config`, and kind
 * `target` for a database that does not exist.
 */
export async function exec(
  invocation: Invocation,
  pickTarget: ConfigRequest['pickTarget'],
): Promise<number> {
  const { program, operands, surroundings } = invocation
  const { env } = surroundings
  if (!program[0]) {
    throw new ProxyError('config', 'there is no program to run', {
      hint: `Put it after two hyphens: lakebase-proxy exec ${[...operands, '--'].join(' ')} psql`,
    })
  }
  const { config, target } = await oneTarget(invocation, pickTarget)
  const password =
    target.localAuth === 'trust' ? undefined : new Secret(randomBytes(24).toString('base64url'))
  const settings = privateSettings(config.settings, target, password)
  // The terminal belongs to the program: by default, only problems are logged there.
  const asked = config.given.some(({ setting }) => setting === 'log-level')
  const level = asked ? settings.logLevel : 'warn'
  const written = createLog({ level, format: settings.logFormat })
  const log = asked ? written : withoutRefusals(written)
  const startUp = signalsDuringStartUp(surroundings.onSignal)
  const { tell } = progressLine(surroundings.stderr)
  const start = startDaemon({ ...config, settings }, surroundings, log, {
    stopping: startUp.stopping,
    newBranch: { isForOneProgram: true, tell },
  }).then(async (started) => {
    await checkExists(started, startUp.stopping).catch(async (error: unknown) => {
      await started.close()
      throw error
    })
    return started
  })
  let hungUp = false
  const proxy = await Promise.race([start, startUp.impatient])
    .catch((error: unknown) => {
      if (error === startUp.stopping.reason) return INTERRUPTED
      throw error
    })
    .finally(() => {
      hungUp = startUp.over()
    })
  if (typeof proxy === 'number') return proxy
  log.load()
  try {
    if (hungUp) return HUNG_UP
    const [own] = settings.targets
    const known = localAddress(own!, { port: proxy.targets[0]!.listener.port })
    // With `user: client` it is the program's environment that names the role.
    const address = known.userMatters ? { ...known, user: env.PGUSER ?? env.USER } : known
    return await runWithProxy({ words: program, address, password, surroundings })
  } finally {
    await proxy.close()
  }
}

/** How long the program is kept waiting, where the workspace is slow. */
const EXISTS_MS = 2_000

/** What is wrong apart from that may be over when the program connects. */
async function checkExists({ targets: [target] }: Daemon, stopping: AbortSignal): Promise<void> {
  if (target === undefined || !('lookUp' in target)) return
  const limit = AbortSignal.any([AbortSignal.timeout(EXISTS_MS), stopping])
  await waitFor(target.lookUp(limit), limit).catch((error: unknown) => {
    if (isGone(error)) throw error
    stopping.throwIfAborted()
  })
}

/** The program prints why it is refused: no lines that say the same beside it. */
function withoutRefusals(log: LazyLog): LazyLog {
  const warn: LazyLog['warn'] = (...line: unknown[]) => {
    const [facts, message] = line
    const isRefusal = typeof facts === 'object' && facts !== null && 'sqlState' in facts
    const level = isRefusal || message === NOT_READY ? 'debug' : 'warn'
    ;(log[level] as (...line: unknown[]) => void)(...line)
  }
  return { ...log, warn }
}

/** The exit code that a shell gives for a program that a signal has ended. */
const HUNG_UP = 129
const INTERRUPTED = 130
const NO_SUCH_PROGRAM = 127
const NOT_RUNNABLE = 126

interface ProgramOptions {
  readonly words: readonly string[]
  readonly address: LocalAddress
  /**
   * The password with `local-auth=password`, made for this run only. The local password itself is not
   * handed on.
   */
  readonly password: Secret | undefined
  readonly surroundings: Pick<Surroundings, 'env' | 'stdin' | 'stderr' | 'onSignal'>
}

/**
 * Resolves to the program's exit code, as a shell says it: 128 + the number of the signal that ended
 * it, 127 when there is no such program, 126 when it cannot be run.
 */
function runWithProxy(options: ProgramOptions): Promise<number> {
  const { words, address, password, surroundings } = options
  const [program = '', ...args] = words
  // Listens before the program starts, so that no signal leaves it behind.
  const stopListening = surroundings.onSignal((signal) => {
    // Ctrl-C already went to every process of the terminal; psql would quit at a second SIGINT.
    if (signal === 'SIGINT' && surroundings.stdin.isTTY) return
    child.kill(signal)
  })
  const child = spawn(program, args, {
    stdio: 'inherit',
    env: programEnvironment(surroundings.env, address, password),
  })
  return new Promise<number>((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      const isMissing = error.code === 'ENOENT'
      surroundings.stderr.write(describeFailure(cannotRun(program, error)))
      resolve(isMissing ? NO_SUCH_PROGRAM : NOT_RUNNABLE)
    })
    child.on('close', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  }).finally(stopListening)
}

/**
 * libpq's variables that say where a connection goes, how it is encrypted and who it is for: the
 * program gets ours, and the others would contradict them. Those about the session itself stay.
 * https://www.postgresql.org/docs/18/libpq-envars.html
 */
const CONNECTION_VARIABLES: readonly string[] = [
  ...['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGPASSWORD', 'PGPASSFILE'],
  ...['PGSERVICE', 'PGSERVICEFILE', 'PGTARGETSESSIONATTRS', 'PGLOADBALANCEHOSTS'],
  ...['PGREQUIREAUTH', 'PGCHANNELBINDING', 'PGREQUIREPEER'],
  ...['PGMINPROTOCOLVERSION', 'PGMAXPROTOCOLVERSION'],
  ...['PGSSLMODE', 'PGREQUIRESSL', 'PGSSLNEGOTIATION', 'PGSSLCOMPRESSION', 'PGSSLSNI'],
  ...['PGSSLCERT', 'PGSSLKEY', 'PGSSLCERTMODE', 'PGSSLROOTCERT', 'PGSSLCRL', 'PGSSLCRLDIR'],
  ...['PGSSLMINPROTOCOLVERSION', 'PGSSLMAXPROTOCOLVERSION'],
  ...['PGGSSENCMODE', 'PGGSSDELEGATION', 'PGGSSLIB', 'PGKRBSRVNAME', 'PGREALM'],
]

/** Our own variables that hold a secret, or may: a TARGET can be a URL with a password. */
const SECRET_VARIABLES: readonly string[] = [LOCAL_PASSWORD, variableOf('targets')]

function programEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  address: LocalAddress,
  password: Secret | undefined,
): Record<string, string | undefined> {
  const removed = new Set([...CONNECTION_VARIABLES, ...SECRET_VARIABLES])
  const passedOn = Object.entries(env).filter(([name]) => !removed.has(name))
  return {
    ...Object.fromEntries(passedOn),
    ...localVariables(address),
    ...(password === undefined ? {} : { PGPASSWORD: password.reveal() }),
  }
}

function cannotRun(program: string, error: NodeJS.ErrnoException): ProxyError {
  const reason = { ENOENT: 'no such program', EACCES: 'permission denied' }[error.code ?? '']
  return new ProxyError('target', `cannot run ${program}: ${reason ?? error.message}`, {
    cause: error,
  })
}
