/**
 * `exec [TARGET] -- CMD…`: a proxy for the life of one program. The program gets the terminal and
 * the signals, and its exit code is ours; the proxy ends when it does.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'

import type { ProxySettings, TargetSettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'
import { createLog } from '../../core/log.js'
import type { LocalAddress } from '../../observe/connection-lines.js'
import type { ConfigRequest, Invocation, Surroundings } from '../cli/command.js'
import { oneTarget } from '../cli/one-target.js'
import { localAddress, localVariables } from './local-address.js'
import { startDaemon } from './start.js'

/** Resolves to the program's exit code. Errors: kind `config`, before anything is started. */
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
  const settings = privateSettings(config.settings, target)
  // The terminal is the program's: what goes well is not said there, unless it was asked for.
  const asked = config.given.some(({ setting }) => setting === 'log-level')
  const level = asked ? settings.logLevel : 'warn'
  const log = createLog({ level, format: settings.logFormat })
  const proxy = await startDaemon({ ...config, settings }, surroundings, log)
  log.load()
  try {
    const [own] = settings.targets
    const password = own!.localAuth === 'password' ? settings.localPassword?.reveal() : undefined
    const known = localAddress(own!, settings, proxy.targets[0]!.listener.port)
    // With `user: client` it is the program's environment that names the role.
    const address = known.userMatters ? { ...known, user: env.PGUSER ?? env.USER } : known
    return await runWithProxy({ words: program, address, password, surroundings })
  } finally {
    await proxy.close()
  }
}

/** The settings of a proxy that only one program is to find: a free port, and nothing else open. */
function privateSettings(settings: ProxySettings, target: TargetSettings): ProxySettings {
  const own = { ...target, address: ['127.0.0.1', '::1'], port: 0, unixSocket: undefined }
  // TLS on loopback protects from nobody, and libpq may want to verify it (~/.postgresql/root.crt).
  return { ...settings, targets: [own], admin: undefined, localTls: 'off' }
}

interface ProgramOptions {
  readonly words: readonly string[]
  readonly address: LocalAddress
  /** With `local-auth=password`: the program has to show it like everybody. */
  readonly password: string | undefined
  readonly surroundings: Pick<Surroundings, 'env' | 'stdin' | 'onSignal'>
}

/** Resolves to the program's exit code; 128 + the number of the signal that ended it, as a shell says. */
function runWithProxy(options: ProgramOptions): Promise<number> {
  const { words, address, password, surroundings } = options
  const [program = '', ...args] = words
  // Heard before there is a program: one that has been started must never be left behind.
  const stopListening = surroundings.onSignal((signal) => {
    // Ctrl-C went to every process of the terminal: said twice, psql would quit at the second.
    if (signal === 'SIGINT' && surroundings.stdin.isTTY) return
    child.kill(signal)
  })
  const child = spawn(program, args, {
    stdio: 'inherit',
    env: programEnvironment(surroundings.env, address, password),
  })
  return new Promise<number>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(cannotRun(program, error))
    })
    child.on('close', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  }).finally(stopListening)
}

/** Those that would lead a client of libpq past the proxy, or make it ask for what is not there. */
const MISLEADING = [
  'PGHOSTADDR',
  'PGSERVICE',
  'PGCHANNELBINDING',
  'PGREQUIREAUTH',
  'PGREQUIREPEER',
  'PGGSSENCMODE',
  'PGSSLNEGOTIATION',
]

function programEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  address: LocalAddress,
  password: string | undefined,
): Record<string, string | undefined> {
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => !MISLEADING.includes(name)))
  return {
    ...own,
    ...localVariables(address),
    ...(password === undefined ? {} : { PGPASSWORD: password }),
  }
}

function cannotRun(program: string, error: NodeJS.ErrnoException): ProxyError {
  const reason = error.code === 'ENOENT' ? 'no such program' : error.message
  return new ProxyError('target', `cannot run ${program}: ${reason}`, { cause: error })
}
