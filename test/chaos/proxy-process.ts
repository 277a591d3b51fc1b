/**
 * A proxy in a process of its own, so that its memory, files, timers and unhandled errors can be
 * counted apart from those of its clients.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { ProxyOptions } from '../../src/config/resolve/options.js'

export interface ChildConfig {
  readonly options: ProxyOptions
  readonly env: Readonly<Record<string, string>>
  readonly stateDir: string
}

export interface ChildState {
  readonly sessions: number
  /** Undefined where there is no /proc. */
  readonly files: number | undefined
  readonly rssBytes: number
  readonly heapBytes: number
  /** `process.getActiveResourcesInfo()`, counted. */
  readonly resources: Readonly<Record<string, number>>
  /** Log lines from `info` up, counted; the ends of sessions by their outcome. */
  readonly said: Readonly<Record<string, number>>
  readonly bugs: readonly string[]
}

export type ParentRequest =
  | { readonly ask: 'state' | 'close'; readonly id: number }
  | { readonly ask: 'clock'; readonly id: number; readonly aheadMs: number }

export type ChildReport =
  | { readonly type: 'listening'; readonly ports: readonly number[] }
  | { readonly type: 'state'; readonly id: number; readonly state: ChildState }

export interface ProxyProcessOptions extends ProxyOptions {
  env: Readonly<Record<string, string>>
  /** `ulimit -n`; not on Windows. */
  maxFiles?: number
}

export class ProxyProcess {
  readonly ports: readonly number[]
  readonly #child: ChildProcess
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>
  #requests = 0

  private constructor(child: ChildProcess, ports: readonly number[]) {
    this.#child = child
    this.ports = ports
    this.exited = once(child, 'exit').then(([code, signal]) => code ?? signal)
  }

  /** Its stderr is ours: an unhandled error is seen. */
  static async start({ env, maxFiles, ...options }: ProxyProcessOptions): Promise<ProxyProcess> {
    const stateDir = await mkdtemp(join(tmpdir(), 'lakebase-proxy-chaos-'))
    const config: ChildConfig = { options, env, stateDir }
    const script = fileURLToPath(new URL('proxy-child.js', import.meta.url))
    const limit = maxFiles === undefined ? '' : `ulimit -n ${maxFiles}; `
    const args = ['--expose-gc', script, JSON.stringify(config)]
    const child = spawn('/bin/sh', ['-c', `${limit}exec "$0" "$@"`, process.execPath, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { PATH: process.env.PATH },
    })
    child.once('exit', () => void rm(stateDir, { recursive: true, force: true }))
    const [first] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`the child ended: ${code}`))),
    ])) as [ChildReport]
    if (first.type !== 'listening') throw new Error('the child began with something else')
    return new ProxyProcess(child, first.ports)
  }

  get pid(): number {
    return this.#child.pid!
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** After a collection of its garbage. */
  state(): Promise<ChildState> {
    return this.#ask({ ask: 'state', id: ++this.#requests })
  }

  /** Sets its clock ahead of ours by `aheadMs`. */
  setClock(aheadMs: number): Promise<ChildState> {
    return this.#ask({ ask: 'clock', id: ++this.#requests, aheadMs })
  }

  /** Ends the daemon; what is left of it then, and how its process ended: 0 when nothing kept it. */
  async close(): Promise<{ left: ChildState; exit: number | string }> {
    const left = await this.#ask({ ask: 'close', id: ++this.#requests })
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    const exit = await this.exited
    clearTimeout(patience)
    return { left, exit }
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #ask(request: ParentRequest): Promise<ChildState> {
    return new Promise((resolve, reject) => {
      const onMessage = (report: ChildReport): void => {
        if (report.type !== 'state' || report.id !== request.id) return
        this.#child.off('message', onMessage)
        resolve(report.state)
      }
      this.#child.on('message', onMessage)
      void this.exited.then((code) => reject(new Error(`the proxy has ended: ${code}`)))
      this.#child.send(request)
    })
  }
}
