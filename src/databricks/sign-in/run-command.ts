/**
 * Runs a program of the user's (the Databricks or the Azure CLI, git) and hands back what it said.
 * Found on the PATH of the environment it is given, never through a shell on Unix; bounded in time
 * and output.
 */

import { execFile } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'

import { isForeign } from '../../core/secret-file.js'

export interface CommandResult {
  /** Undefined when the program was not found. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export type RunCommand = (
  command: string,
  args: readonly string[],
  signal: AbortSignal,
) => Promise<CommandResult>

/** Which Windows starts through its shell only. */
const WINDOWS_BATCH_FILES = new Set(['az'])
const TIMEOUT_MS = 30_000
/** The exit code of cmd.exe for an unknown command. */
const NOT_RECOGNIZED = 9009
const MAX_OUTPUT_BYTES = 1024 * 1024

export interface CommandPlace {
  /** The process's own variables: a `.env` chooses nothing for the programs of the user. */
  readonly programEnv: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  readonly platform: NodeJS.Platform
}

export function commandRunner({ programEnv, homeDir, platform }: CommandPlace): RunCommand {
  // Settings of this proxy, one of which is a password, are not for other programs.
  const env = Object.fromEntries(
    Object.entries(programEnv).filter(([name]) => !name.startsWith('LAKEBASE_')),
  )
  const cwd = safeFolder(homeDir, platform)
  return (name, args, signal) =>
    new Promise((resolve, reject) => {
      const shell = platform === 'win32' && WINDOWS_BATCH_FILES.has(name)
      const command = /[\\/]/.test(name) ? path.resolve(name) : name
      if (shell && args.some((arg) => !/^[\w.:/@=-]+$/.test(arg))) {
        reject(new Error(`refusing to pass an argument with special characters to ${name}`))
        return
      }
      const options = {
        env,
        cwd,
        shell,
        signal,
        timeout: TIMEOUT_MS,
        maxBuffer: MAX_OUTPUT_BYTES,
        windowsHide: true,
        encoding: 'utf8' as const,
      }
      const child = execFile(command, [...args], options, (error, stdout, stderr) => {
        if (signal.aborted) return reject(signal.reason)
        if (error === null) return resolve({ exitCode: 0, stdout, stderr })
        if (error.code === 'ENOENT' || (shell && error.code === NOT_RECOGNIZED)) {
          return resolve({ exitCode: undefined, stdout, stderr })
        }
        if (typeof error.code === 'number') {
          return resolve({ exitCode: error.code, stdout, stderr })
        }
        const why = error.killed === true ? `no answer in ${TIMEOUT_MS / 1000} s` : error.message
        resolve({ exitCode: 1, stdout, stderr: `${stderr}\n${why}`.trim() })
      })
      child.stdin?.end()
    })
}

/**
 * Where programs start, and never the working folder, which may be a cloned repository: Windows looks
 * for a program there first, and Python, in which `az` is written, for its modules.
 */
function safeFolder(homeDir: string, platform: NodeJS.Platform): string {
  const isWindows = platform === 'win32'
  try {
    accessSync(homeDir, constants.X_OK)
    const found = statSync(homeDir)
    const isOurs = found.isDirectory() && (isWindows || !isForeign(found))
    if (isOurs && path.isAbsolute(homeDir)) return homeDir
  } catch {
    // It does not exist, or may not be entered.
  }
  return isWindows ? path.dirname(process.execPath) : '/'
}
