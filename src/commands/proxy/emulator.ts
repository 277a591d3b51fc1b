/**
 * `emulator`: the emulated workspace alone, for a proxy that is started by hand or in another
 * container. stdout gets the environment to export, and nothing else.
 */

import { once } from 'node:events'
import { access, constants, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { ProxyError } from '../../core/errors.js'
import { type Emulator, startEmulator } from '../../emulator/emulator.js'
import { shellWord } from '../../observe/connection-lines.js'

export interface EmulatorCommandOptions {
  /** Life of database credentials; the emulator's own default when left out. */
  tokenTtlMs?: number | undefined
  /**
   * The port of the workspace API; the front door and the DNS server take the next two. Left out or 0:
   * free ones.
   */
  port?: number | undefined
  /** Folder to write `.env` and `ca.pem` into, for a proxy that shares it. */
  output?: string | undefined
  stdout: { write(text: string): unknown }
  stderr: { write(text: string): unknown }
  /** Ends the command, in order. */
  signal: AbortSignal
}

/** Runs until `signal` aborts. Errors: kind `config` when PostgreSQL or a port cannot be had. */
export async function runEmulator(options: EmulatorCommandOptions): Promise<number> {
  const { port, signal, stderr, stdout } = options
  if (options.output !== undefined) await makeFolder(options.output)
  const emulator = await startEmulator({
    ...(options.tokenTtlMs !== undefined && { tokenTtlMs: options.tokenTtlMs }),
    ...(port && { port, frontPort: port + 1, dnsPort: port + 2 }),
  }).catch((cause: unknown) => {
    throw notListening(cause) ?? cause
  })
  try {
    for (const [name, value] of Object.entries(emulator.env)) {
      stdout.write(`export ${name}='${value.replaceAll("'", `'\\''`)}'\n`)
    }
    if (options.output !== undefined) await writeEnvironment(emulator, options.output)
    stderr.write(`${guide(emulator, options.output)}\n`)
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    await emulator.close()
  }
  return 0
}

/** What is wrong with the port that was asked for, if it is that. */
function notListening(cause: unknown): ProxyError | undefined {
  if (!(cause instanceof Error && 'port' in cause && 'code' in cause)) return undefined
  const why = cause.code === 'EADDRINUSE' ? 'is in use' : `cannot be listened at: ${cause.code}`
  return new ProxyError('config', `port ${cause.port} ${why}`, {
    cause,
    hint: 'Choose another: --port takes that one and the next two.',
  })
}

/** One level: a recursive mkdir of Node.js never returns in `/proc`. Errors: kind `config`. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await access(`${folder}/.`, constants.W_OK)
  } catch (cause) {
    const { code, errno = 0 } = cause as NodeJS.ErrnoException
    const [, words = code] = getSystemErrorMap().get(errno) ?? []
    const reason = code === 'ENOENT' ? 'the folder that it is in does not exist' : words
    throw new ProxyError('config', `--output: cannot write to ${folder}: ${reason}`, { cause })
  }
}

async function writeEnvironment(emulator: Emulator, folder: string): Promise<void> {
  const caFile = join(folder, 'ca.pem')
  await writeFile(caFile, emulator.caPem)
  const env = { ...emulator.env, LAKEBASE_PROXY_SSLROOTCERT: caFile }
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(join(folder, '.env'), lines.join(''), { mode: 0o600 })
}

function guide(emulator: Emulator, folder: string | undefined): string {
  const file = folder === undefined ? undefined : shellWord(join(folder, '.env'))
  return [
    `Lakebase emulator at ${emulator.workspaceUrl}, until Ctrl-C.`,
    'Paste the lines above into another terminal, then start a proxy there:',
    ...emulator.targets.map((target) => `  lakebase-proxy ${target}`),
    ...(file === undefined
      ? []
      : [`Or without them, as: lakebase-proxy --env-file ${file} TARGET`]),
  ].join('\n')
}
