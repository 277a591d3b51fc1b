/**
 * The status pages that are open: each gets events as long as it stays connected, and a page that
 * does not read misses some. While no page is open, no state is computed.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */

import type { ServerResponse } from 'node:http'

import type { Clock } from '../core/clock.js'

export interface EventStreamsOptions {
  clock: Clock
  /** The state as JSON text, told every second. */
  status: () => Promise<string>
  /** What a page that has just opened is told first, as JSON text. */
  history: () => string
}

const EVERY_MS = 1_000
const MAX_STREAMS = 16

export class EventStreams {
  readonly #options: EventStreamsOptions
  readonly #streams = new Set<ServerResponse>()
  /** Cancels the next round, while there is one to come. */
  #cancel: (() => void) | undefined
  #closed = false

  constructor(options: EventStreamsOptions) {
    this.#options = options
  }

  get isFull(): boolean {
    return this.#streams.size >= MAX_STREAMS
  }

  /** `response` has its head written. */
  async add(response: ServerResponse): Promise<void> {
    this.#streams.add(response)
    response.on('error', () => {}) // a page that left, or that was ended while its state was read
    response.once('close', () => {
      this.#streams.delete(response)
      if (this.#streams.size === 0) this.#stop()
    })
    response.write(`retry: 2000\n${event('history', this.#options.history())}`)
    const status = await this.#options.status()
    if (this.#closed) return
    response.write(event('status', status))
    if (this.#streams.size > 0) this.#wait()
  }

  /** `json` is JSON text, which has no line break of its own. */
  send(name: string, json: string): void {
    const text = event(name, json)
    for (const stream of this.#streams) if (!stream.writableNeedDrain) stream.write(text)
  }

  close(): void {
    this.#closed = true
    this.#endAll()
  }

  #endAll(): void {
    this.#stop()
    for (const stream of this.#streams) stream.end()
  }

  #wait(): void {
    this.#cancel ??= this.#options.clock.after(EVERY_MS, () => {
      this.#cancel = undefined
      this.#tick().catch(() => this.#endAll()) // pages come back by themselves
    })
  }

  #stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  async #tick(): Promise<void> {
    const status = await this.#options.status()
    if (this.#streams.size === 0 || this.#closed) return
    this.send('status', status)
    this.#wait()
  }
}

function event(name: string, json: string): string {
  return `event: ${name}\ndata: ${json}\n\n`
}
