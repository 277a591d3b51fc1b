/**
 * HTTP as every caller here needs it: certificates always verified, plaintext to loopback only,
 * the proxy variables of the given environment obeyed, replies capped in size, and what is
 * temporary (429, 5xx, a lost connection, silence) tried again within one budget. Knows nothing of
 * tokens: a redirect to another origin is never followed, so no header can leak to one.
 */

import { TLSSocket } from 'node:tls'

import pRetry from 'p-retry'
import { Agent, buildConnector, type Dispatcher, fetch } from 'undici'
import type { Clock } from '../../core/clock.js'
import { pause, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import type { Log } from '../../core/log.js'
import { isLoopback } from '../../core/loopback.js'
import { httpsProxyAgent } from './https-proxy.js'
import { describeNetworkError } from './network-error.js'

export interface HttpRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly url: URL
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
  /** False: a repeat could do it twice, so only what was surely not done is tried again. */
  readonly idempotent?: boolean
  /** A request to the metadata service of this cloud machine: plain HTTP, on its own link, past any proxy. */
  readonly toMachine?: true
  /** False: a redirect is handed back as it came. */
  readonly followRedirects?: boolean
}

export interface HttpReply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface HttpOptions {
  /** The variables that HTTPS_PROXY and NO_PROXY are read from. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly log: Log
  /** `lakebase-proxy/1.2.3`. */
  readonly userAgent: string
  /** The limit for all tries of one request together. */
  readonly budgetMs?: number
  /** The limit for one try. */
  readonly attemptMs?: number
  /** How often what is temporary is tried again; left out: as long as the budget lasts. */
  readonly retries?: number
  /** The first pause between two tries; each further one is twice as long. */
  readonly backoffMs?: number
  /** Used in place of undici's own connections. `close()` leaves it open. */
  readonly dispatcher?: Dispatcher
}

const BUDGET_MS = 30_000
const ATTEMPT_MS = 10_000
const BACKOFF_MS = 250
const MAX_BACKOFF_MS = 5_000
const MAX_REPLY_BYTES = 8 * 1024 * 1024
const MAX_REDIRECTS = 5
/** How long Databricks' SDKs wait when a 429 or 503 names no time. */
const DEFAULT_RETRY_AFTER_MS = 1_000

export class Http {
  readonly #options: HttpOptions
  readonly #direct: Dispatcher
  readonly #proxied: Dispatcher
  readonly #closing = new AbortController()
  /** The issuer of the certificate that was last accepted, for each host. */
  readonly #issuers = new Map<string, string>()

  constructor(options: HttpOptions) {
    this.#options = options
    const { dispatcher, env } = options
    this.#direct = dispatcher ?? new Agent({ connect: this.#rememberingConnector() })
    this.#proxied =
      dispatcher ??
      httpsProxyAgent({
        env,
        clock: options.clock,
        connect: this.#rememberingConnector(),
        // Less than one try, so that its end names the proxy.
        tunnelMs: 0.9 * (options.attemptMs ?? ATTEMPT_MS),
        closing: this.#closing.signal,
      })
  }

  /**
   * Any status is a reply; errors are ProxyErrors of kind `credential` or `config`, or the signal's
   * reason.
   */
  async send(request: HttpRequest): Promise<HttpReply> {
    refusePlaintext(request)
    refuseUnsendable(request)
    request.signal.throwIfAborted()
    const { clock, log } = this.#options
    const budgetMs = this.#options.budgetMs ?? BUDGET_MS
    const endsAt = clock.monotonic() + budgetMs
    // A request keeps the process alive as an open socket would, also between two tries.
    const alive = setInterval(() => {}, budgetMs)
    let failure: TryAgain | undefined
    const reason = (): TryAgain => failure ?? new TryAgain(silent(request.url, budgetMs))
    const signals = [request.signal, this.#closing.signal]
    const tries = (limit: AbortSignal): Promise<HttpReply> =>
      pRetry(() => this.#try(request, limit), {
        retries: this.#options.retries ?? Number.POSITIVE_INFINITY,
        minTimeout: this.#options.backoffMs ?? BACKOFF_MS,
        maxTimeout: MAX_BACKOFF_MS,
        randomize: true,
        signal: limit,
        shouldRetry: ({ error }) => error instanceof TryAgain,
        onFailedAttempt: async ({ error, attemptNumber }) => {
          if (!(error instanceof TryAgain) || limit.aborted) return
          failure = error
          if (error.surelyNotDone === false && request.idempotent === false) throw error
          if (clock.monotonic() + error.waitMs >= endsAt) throw error
          log.debug(
            { host: request.url.host, attempt: attemptNumber, waitMs: error.waitMs },
            `${error.message}; trying again`,
          )
          if (error.waitMs > 0) await pause(clock, error.waitMs, limit)
        },
      })
    try {
      return await withDeadline({ clock, ms: budgetMs, reason, signals }, tries)
    } catch (error) {
      if (request.signal.aborted) throw request.signal.reason
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
      if (!(error instanceof TryAgain)) throw error
      if (error.outcome instanceof ProxyError) throw error.outcome
      return error.outcome
    } finally {
      clearInterval(alive)
    }
  }

  /**
   * The issuer of the host's certificate. Undefined when nothing was asked yet, or a proxy stands
   * between.
   */
  issuerOf(url: URL): string | undefined {
    return this.#issuers.get(url.host)
  }

  /** Ends what is under way. Safe to call twice. */
  async close(): Promise<void> {
    this.#closing.abort(new ProxyError('stopping', 'the proxy is stopping'))
    if (this.#options.dispatcher !== undefined) return
    await Promise.all([this.#direct.destroy(), this.#proxied.destroy()])
  }

  async #try(request: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
    const attemptMs = this.#options.attemptMs ?? ATTEMPT_MS
    let timedOut = false
    const reason = (): ProxyError => {
      timedOut = true
      return silent(request.url, attemptMs)
    }
    const deadline = { clock: this.#options.clock, ms: attemptMs, reason, signals: [signal] }
    try {
      const reply = await withDeadline(deadline, (limit) => this.#exchange(request, limit))
      if (isTemporary(reply.status)) throw new TryAgain(reply)
      return reply
    } catch (error) {
      if (error instanceof TryAgain || error instanceof ProxyError) {
        throw timedOut && error instanceof ProxyError ? new TryAgain(error) : error
      }
      if (signal.aborted) throw signal.reason
      const described = describeNetworkError(error, request.url)
      throw described.temporary
        ? new TryAgain(described.error, described.surelyNotDone)
        : described.error
    }
  }

  async #exchange(request: HttpRequest, signal: AbortSignal): Promise<HttpReply> {
    const method = request.method ?? 'GET'
    let url = request.url
    for (let redirects = 0; ; redirects += 1) {
      const response = await fetch(url, {
        method,
        headers: { 'user-agent': this.#options.userAgent, ...request.headers },
        ...(request.body === undefined ? {} : { body: request.body }),
        redirect: 'manual',
        dispatcher: request.toMachine || isLoopback(url.hostname) ? this.#direct : this.#proxied,
        signal,
      })
      const text = await readCapped(response.body, url)
      const headers = new Headers([...response.headers])
      const next = redirectOf(response.status, headers, url)
      const follow =
        request.followRedirects !== false &&
        next?.origin === url.origin &&
        redirects < MAX_REDIRECTS &&
        // A POST that is redirected with 301–303 would become a GET.
        (method === 'GET' || response.status >= 307)
      if (!follow) return { status: response.status, headers, text }
      url = next
    }
  }

  #rememberingConnector(): buildConnector.connector {
    const connect = buildConnector({})
    return (options, callback) =>
      connect(options, (...result) => {
        const [, socket] = result
        if (socket instanceof TLSSocket) {
          const { issuer } = socket.getPeerCertificate()
          // A resumed TLS session shows no certificate.
          if (issuer !== undefined) {
            const name = [issuer.O ?? issuer.CN].flat().join(', ')
            this.#issuers.set(options.host ?? options.hostname, name)
          }
        }
        callback(...result)
      })
  }
}

/** Where a redirect leads; undefined when the reply is not a redirect. */
export function redirectOf(status: number, headers: Headers, from: URL): URL | undefined {
  const location = headers.get('location')
  if (status < 300 || status > 399 || location === null) return undefined
  return URL.canParse(location, from.href) ? new URL(location, from) : undefined
}

/** The metadata services of Azure and Google, which answer only on the machine's own network. */
const METADATA_HOSTS = ['169.254.169.254', 'metadata.google.internal']

function refusePlaintext({ url, toMachine }: HttpRequest): void {
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))) return
  if (toMachine && METADATA_HOSTS.includes(url.hostname)) return
  throw new ProxyError('config', `refusing to send a request to ${url.origin} without TLS`, {
    hint: 'Use https:// (http:// is accepted for this machine only).',
  })
}

/** Refuses a value before undici does, whose error would repeat it: it may be a token. */
function refuseUnsendable({ headers = {}, url }: HttpRequest): void {
  const [name] =
    Object.entries(headers).find(([, value]) =>
      UNSENDABLE.test(value.replace(/(?<![\t\r\n ])[\t\r\n ]+$/, '')),
    ) ?? []
  if (name === undefined) return
  throw new ProxyError('config', `the header ${name} for ${url.host} cannot be sent`, {
    detail: 'It holds a line break, or a character that no header may have.',
    hint: 'Check the token and the other settings of the sign-in for something copied along: lakebase-proxy doctor shows where they are set.',
  })
}

const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/

/** A failure that may pass; `outcome` is what the caller gets when the budget ends first. */
class TryAgain extends Error {
  readonly outcome: HttpReply | ProxyError
  readonly surelyNotDone: boolean
  readonly waitMs: number

  constructor(outcome: HttpReply | ProxyError, surelyNotDone = false) {
    super(outcome instanceof Error ? outcome.message : `HTTP status ${outcome.status}`)
    this.outcome = outcome
    const turnedAway = !(outcome instanceof Error) && [429, 503].includes(outcome.status)
    this.surelyNotDone = surelyNotDone || turnedAway
    this.waitMs = turnedAway ? retryAfterMs(outcome.headers) : 0
  }
}

function isTemporary(status: number): boolean {
  return status === 429 || status === 408 || (status >= 500 && status !== 501)
}

/** Reads Retry-After: seconds, or a date (RFC 9110 §10.2.3), which is compared with the reply's own Date. */
function retryAfterMs(headers: Headers): number {
  const value = headers.get('retry-after')?.trim()
  if (value === undefined || value === '') return DEFAULT_RETRY_AFTER_MS
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const untilMs = Date.parse(value) - Date.parse(headers.get('date') ?? '')
  return Number.isFinite(untilMs) ? Math.max(0, untilMs) : DEFAULT_RETRY_AFTER_MS
}

function silent(url: URL, afterMs: number): ProxyError {
  return new ProxyError('credential', `${url.host} did not answer within ${afterMs / 1000} s`, {
    hint: `Check the network, VPN and HTTPS_PROXY on the way to ${url.host}.`,
  })
}

async function readCapped(body: AsyncIterable<Uint8Array> | null, url: URL): Promise<string> {
  if (body === null) return ''
  const chunks: Uint8Array[] = []
  let byteCount = 0
  for await (const chunk of body) {
    byteCount += chunk.byteLength
    if (byteCount > MAX_REPLY_BYTES) {
      throw new ProxyError(
        'credential',
        `reply of ${url.host} is larger than ${MAX_REPLY_BYTES} bytes`,
        { hint: `Check that ${url.host} is a Databricks workspace.` },
      )
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
