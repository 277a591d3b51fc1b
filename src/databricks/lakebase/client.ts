/**
 * One call of the workspace's REST API: the token put on, a refused token renewed once, JSON
 * checked, and every refusal turned into an error that says what is missing.
 */

import { z } from 'zod'

import { type ErrorKind, ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { type Http, type HttpReply, redirectOf } from '../http/http.js'
import { pathPart } from '../http/workspace-host.js'
import type { TokenSource } from '../sign-in/auth.js'
import type { WorkspaceToken } from '../sign-in/sign-in-method.js'
import { readJson } from '../sign-in/token-reply.js'
import { ApiError } from './api-error.js'

export interface ApiRequest<T> {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Already encoded where it holds names: see `apiPath`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly body?: unknown
  readonly schema: z.ZodType<T>
  /** For messages, after "could not": `look up database instance "x"`. */
  readonly what: string
  readonly idempotent?: boolean
  /** Kind of the errors that are neither about who asks (401, 403) nor about what is not there (404). */
  readonly kind?: ErrorKind
}

export interface ApiReply<T> {
  readonly value: T
  /** Epoch ms by the workspace's clock (its Date header). */
  readonly serverTime: number | undefined
}

export interface WorkspaceClientOptions {
  readonly http: Http
  readonly host: string
  readonly tokens: TokenSource
  /** For hosts that serve several workspaces. */
  readonly workspaceId: string | undefined
  readonly signal: AbortSignal
}

export class WorkspaceClient {
  readonly host: string
  readonly signal: AbortSignal
  readonly #options: WorkspaceClientOptions

  constructor(options: WorkspaceClientOptions) {
    this.host = options.host
    this.signal = options.signal
    this.#options = options
  }

  /** Errors: ApiError for a refusal, ProxyError for what never got an answer. */
  async request<T>(request: ApiRequest<T>): Promise<T> {
    return (await this.exchange(request)).value
  }

  /** The same, with the time of the reply. */
  async exchange<T>(request: ApiRequest<T>): Promise<ApiReply<T>> {
    const { tokens, signal } = this.#options
    const token = await tokens.get(signal)
    let reply = await this.#send(request, token)
    if (reply.status === 401) {
      const successor = await tokens.renew(token, signal)
      if (successor !== undefined) reply = await this.#send(request, successor)
    }
    if (reply.status < 200 || reply.status > 299) throw this.#refusal(request, reply)
    const parsed = request.schema.safeParse(this.#json(request, reply))
    if (!parsed.success) {
      throw new ProxyError('credential', `could not ${request.what}: unexpected reply`, {
        detail: plainText(`${this.host} sent: ${z.prettifyError(parsed.error)}`),
      })
    }
    return { value: parsed.data, serverTime: timeOf(reply.headers.get('date')) }
  }

  #send(request: ApiRequest<unknown>, token: WorkspaceToken): Promise<HttpReply> {
    const url = new URL(request.path, this.host)
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, value)
    }
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${token.accessToken.reveal()}`,
    }
    for (const [name, secret] of Object.entries(token.headers ?? {}))
      headers[name] = secret.reveal()
    const { workspaceId, http, signal } = this.#options
    if (workspaceId !== undefined) headers['x-databricks-workspace-id'] = workspaceId
    if (request.body !== undefined) headers['content-type'] = 'application/json'
    return http.send({
      method: request.method ?? 'GET',
      url,
      headers,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      ...(request.idempotent === undefined ? {} : { idempotent: request.idempotent }),
      signal,
    })
  }

  #json(request: ApiRequest<unknown>, reply: HttpReply): unknown {
    if (reply.text.trim() === '') return {}
    try {
      return JSON.parse(reply.text)
    } catch {
      const what = /^\s*</.test(reply.text) ? 'a web page' : 'something else'
      throw new ProxyError(
        'credential',
        `could not ${request.what}: ${this.host} sent ${what} where JSON was expected`,
        { hint: `Check that ${this.host} is the address of a Databricks workspace.` },
      )
    }
  }

  #refusal(request: ApiRequest<unknown>, reply: HttpReply): ProxyError {
    const { status } = reply
    const elsewhere = redirectOf(status, reply.headers, new URL(this.host))
    if (elsewhere !== undefined) {
      return new ProxyError(
        'credential',
        `could not ${request.what}: ${this.host} redirects to ${elsewhere.origin}`,
        {
          detail: 'Tokens are sent only to the host that is set.',
          hint: `If that is your workspace, set DATABRICKS_HOST=${elsewhere.origin}.`,
        },
      )
    }
    const { message, errorCode } = readError(reply)
    const why = message ?? `HTTP status ${status}`
    const fail = (kind: ErrorKind, text: string, hint?: string): ApiError =>
      new ApiError(kind, text, { status, errorCode }, { hint })
    // A personal access token that is wrong or over is answered with 403, not 401.
    if (status === 401 || (status === 403 && /invalid access token/i.test(why))) {
      return new ApiError(
        'identity',
        `${this.host} does not accept the sign-in: ${why}`,
        { status, errorCode, refusesToken: true },
        { hint: this.#options.tokens.hint },
      )
    }
    switch (status) {
      case 403:
        return fail(
          'identity',
          `not allowed to ${request.what}: ${why}`,
          `Ask an administrator of ${this.host} for the permission, or sign in as a user who has it.`,
        )
      case 404:
        return fail('target', `could not ${request.what}: ${why}`)
      case 429:
        return fail(
          request.kind ?? 'credential',
          `could not ${request.what}: ${this.host} limits the rate of requests: ${why}`,
          'Try again in a minute.',
        )
      default:
        return fail(request.kind ?? 'credential', `could not ${request.what}: ${why}`)
    }
  }
}

/** A path whose parts may hold names; slashes in a resource name stay. */
export function apiPath(...parts: readonly string[]): string {
  return parts.map((part) => part.split('/').map(pathPart).join('/')).join('/')
}

const ErrorBody = z.object({
  error_code: z.coerce.string().nullish(),
  message: z.string().nullish(),
  error: z.string().nullish(),
  error_description: z.string().nullish(),
})

function readError(reply: HttpReply) {
  const data = readJson(reply.text, ErrorBody)
  const message = data?.message || data?.error_description || data?.error || ''
  return {
    message: message === '' ? undefined : plainText(message),
    errorCode: data?.error_code ?? undefined,
  }
}

/** Epoch ms of a timestamp in a reply. */
export function timeOf(text: string | null | undefined): number | undefined {
  const time = Date.parse(text ?? '')
  return Number.isNaN(time) ? undefined : time
}
