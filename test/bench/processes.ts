/**
 * The processes of a benchmark: started, waited for, weighed and ended one by one, and none left
 * behind. CPU time and memory are what the kernel has counted for the process (Linux only).
 */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { access, constants, readdir } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { userInfo } from 'node:os'
import { delimiter, join } from 'node:path'

const TICKS_PER_SECOND = 100
const PAGE_BYTES = 4096
const STOP_PATIENCE_MS = 5_000

export class Process {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #logPath: string

  /** What it prints goes to the file, as it would in use. */
  constructor(command: readonly string[], logPath: string, options: SpawnOptions = {}) {
    const log = openSync(logPath, 'a')
    const [program, ...args] = command
    this.#child = spawn(program!, args, { stdio: ['ignore', log, log], ...options })
    closeSync(log)
    this.#logPath = logPath
    this.#child.on('error', () => {})
    if (this.#child.pid === undefined) throw new Error(`could not start ${program}`)
    this.pid = this.#child.pid
  }

  get log(): string {
    return readFileSync(this.#logPath, 'utf8')
  }

  /** User and system time so far, of all threads, in ms. */
  get cpuMs(): number {
    const [user, system] = statFields(this.pid).slice(11, 13)
    return ((Number(user) + Number(system)) * 1000) / TICKS_PER_SECOND
  }

  get residentBytes(): number {
    return Number(statFields(this.pid)[21]) * PAGE_BYTES
  }

  /** Until a connection is accepted there; the time of the first, by `performance.now()`. */
  async listening(port: number, patienceMs = 10_000): Promise<number> {
    const deadline = performance.now() + patienceMs
    while (!(await accepts(port))) {
      if (this.#child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`${this.#child.spawnfile} does not listen: ${this.log.slice(-2000)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return performance.now()
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill(signal)
    const impatience = setTimeout(() => this.#child.kill('SIGKILL'), STOP_PATIENCE_MS)
    await gone
    clearTimeout(impatience)
  }
}

/** From the third on, `state`: what is before it may hold spaces. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** What a program printed. Errors: it ended with another code than 0. */
export async function run(
  command: readonly string[],
  env: Record<string, string> = {},
  options: SpawnOptions = {},
): Promise<string> {
  const [program, ...args] = command
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...options,
  })
  let output = ''
  let complaint = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${complaint.slice(-2000)}`)
  return output
}

/** PostgreSQL's own folders come first: on Debian the ones in PATH are wrappers, slow to start. */
export async function findProgram(...names: readonly string[]): Promise<string | undefined> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  const folders = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => `/usr/lib/postgresql/${version}/bin`)
  folders.push(...(process.env.PATH ?? '').split(delimiter), '/usr/sbin')
  for (const folder of folders) {
    for (const name of names) {
      const path = join(folder, name)
      const runs = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
      if (runs) return path
    }
  }
  return undefined
}

/** PostgreSQL and PgBouncer refuse to be root. */
export function unprivileged(): { uid: number; gid: number } | undefined {
  if (userInfo().uid !== 0) return undefined
  const entry = /^nobody:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  return { uid: Number(entry?.[1] ?? 65534), gid: Number(entry?.[2] ?? 65534) }
}
