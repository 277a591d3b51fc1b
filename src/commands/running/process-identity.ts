/**
 * Which process a number means: a number is given to another process after the first has ended, and
 * means another one on another machine or in another container.
 */

import { execFile } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'

/** Where a process number has its meaning. */
export interface ProcessSpace {
  readonly host: string
  /** Changes when the machine starts; empty where it is not known. */
  readonly boot: string
  /** The PID namespace of a container; empty where there are none. */
  readonly namespace: string
}

export async function processSpace(): Promise<ProcessSpace> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '')
  return { host: hostname(), boot: boot.trim(), namespace }
}

/** When the process began, in the system's own words; undefined when there is no such process. */
export async function startOfProcess(pid: number): Promise<string | undefined> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: the process is another user's, so it did not write our file.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return undefined
  }
  switch (process.platform) {
    case 'linux':
      return startTicks(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))
    case 'win32':
      return 'not known'
    default:
      return startByPs(pid)
  }
}

/** proc_pid_stat(5): field 22. The program's name, field 2, may hold spaces and brackets. */
function startTicks(stat: string): string | undefined {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

function startByPs(pid: number): Promise<string | undefined> {
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return new Promise((resolve) => {
    const args = ['-o', 'lstart=', '-p', String(pid)]
    execFile('ps', args, { env, timeout: 2_000 }, (_, stdout) =>
      resolve(stdout.trim() || undefined),
    )
  })
}
