/**
 * The command line as a user runs it: the built program, in an environment of the test's own; or,
 * where nothing is started, in the process of the test.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runCommandLine } from '../../src/commands/cli/program.js'
import type { StopSignal } from '../../src/commands/invocation/command.js'
import type { Ran } from './proxy.js'

export const MAIN: string = fileURLToPath(new URL('../../bundle/main.js', import.meta.url))

const LIMIT_MS = 150_000 // twenty at once on a busy machine

/** Where the proxies of this test file say that they run: those of other files are not found. */
export const RUNTIME_DIR: string = mkdtempSync(join(tmpdir(), 'lakebase-proxy-runtime-'))
process.on('exit', () => rmSync(RUNTIME_DIR, { recursive: true, force: true }))

/** Never rejects. Nothing of our environment but PATH gets in, and HOME is an empty folder. */
export function cli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
): Promise<Ran> {
  const settings = {
    ...{ PATH: process.env.PATH, HOME: '/nonexistent', XDG_RUNTIME_DIR: RUNTIME_DIR },
    ...env,
  }
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env: settings, cwd, timeout: LIMIT_MS },
      (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1
        resolve({ code, stdout, stderr })
      },
    )
  })
}

export interface Where {
  env?: Record<string, string>
  cwd?: string
}

/** In the process of the test: what does not start anything needs no process of its own. */
export async function cliHere(
  args: readonly string[],
  { env = {}, cwd = '/' }: Where = {},
): Promise<Ran> {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const surroundings = {
    ...{ stdin, stdout, stderr },
    env: { XDG_RUNTIME_DIR: RUNTIME_DIR, ...env },
    machine: {
      cwd,
      homeDir: '/nonexistent',
      hostname: 'laptop',
      platform: 'linux',
      isTerminal: false,
    },
    uid: userInfo().uid,
    command: [process.execPath, MAIN],
    onSignal: () => () => {},
    onCrash: () => {},
  }
  const code = await runCommandLine(args, surroundings)
  return { code, stdout: textOf(stdout), stderr: textOf(stderr) }
}

function textOf(stream: PassThrough): string {
  return String((stream.read() as Buffer | null) ?? '')
}

export interface RunningCli {
  readonly child: ChildProcess
  /** Resolves once stderr has matched, with the match. Rejects when the process ends before. */
  saw(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal: StopSignal): void
  readonly done: Promise<Ran>
}

/** In a process with nothing of our environment but PATH. Killed when the test ends. */
export function startCli(t: TestContext, args: readonly string[], where: Where = {}): RunningCli {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: where.cwd,
    env: {
      ...{ PATH: process.env.PATH, HOME: where.cwd ?? '/nonexistent' },
      ...{ XDG_RUNTIME_DIR: RUNTIME_DIR, ...where.env },
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const text = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  child.stdout.on('data', (bytes) => {
    text.stdout += String(bytes)
  })
  child.stderr.on('data', (bytes) => {
    text.stderr += String(bytes)
    for (const look of watchers) look()
  })
  const done = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code: code ?? -1, ...text, ...(signal && {}) }))
  })
  return {
    child,
    done,
    kill: (signal) => void child.kill(signal),
    saw: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const match = pattern.exec(text.stderr)
          if (match !== null) resolve(match)
        }
        watchers.add(look)
        look()
        done.then(() => reject(new Error(`ended before ${pattern}:\n${text.stderr}`)), reject)
      }),
  }
}
