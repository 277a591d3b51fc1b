/**
 * Unified authentication as Databricks' SDKs do it: one ordered list of ways to
 * sign in, of which the first that is configured is taken; two that were set side by side are
 * refused by name. What merely lies ready on the machine (a CLI's login) is tried, and passed over
 * when it does not work. Adding a way means a file of its own and a line in `METHODS`.
 */

import { LinkedAbort, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { FreshValue } from '../../core/fresh-value.js'
import { azureCli } from './azure-cli.js'
import { azureClientSecret } from './azure-client-secret.js'
import { azureDevopsOidc } from './azure-devops-oidc.js'
import { azureMsi } from './azure-msi.js'
import { databricksCli } from './databricks-cli.js'
import { type Attribute, COMMON_ATTRIBUTES, type DatabricksConfig } from './databricks-config.js'
import { envOidc } from './env-oidc.js'
import { fileOidc } from './file-oidc.js'
import { githubOidc } from './github-oidc.js'
import { githubOidcAzure } from './github-oidc-azure.js'
import { googleCredentials } from './google-credentials.js'
import { googleId } from './google-id.js'
import { metadataService } from './metadata-service.js'
import { oauthM2m } from './om2m.js'
import { pat } from './pat.js'
import {
  type ConfigWithHost,
  NotConfigured,
  type SignIn,
  type SignInDeps,
  type SignInMethod,
  type TokenCall,
  type WorkspaceToken,
} from './sign-in-method.js'

/** In the order in which they are tried, the same as in the Go SDK and the CLI. */
const METHODS: readonly SignInMethod[] = [
  pat,
  oauthM2m,
  databricksCli,
  metadataService,
  githubOidc,
  azureDevopsOidc,
  envOidc,
  fileOidc,
  githubOidcAzure,
  azureMsi,
  azureClientSecret,
  azureCli,
  googleCredentials,
  googleId,
]

const MAX_STALE_MS = 20 * 60_000
const RETRY_MS = 60_000

export const SIGN_IN_ATTRIBUTES: readonly Attribute[] = [
  ...COMMON_ATTRIBUTES,
  ...METHODS.flatMap(({ attributes }) => attributes),
].filter(({ name }, at, all) => all.findIndex((other) => other.name === name) === at)

interface Candidate {
  readonly method: SignInMethod
  readonly signIn: SignIn
}

function chooseCandidates(config: ConfigWithHost, env: SignInDeps['env']): readonly Candidate[] {
  const asked = config.get('auth_type')
  if (asked !== undefined) {
    const method = METHODS.find(({ type }) => type === asked)
    if (method === undefined) throw unknownType(asked, config)
    const signIn = method.configure(config, env)
    if (signIn === undefined) {
      throw new ProxyError('config', `authentication type "${asked}" needs ${method.needs}`, {
        detail: `The type is set by ${config.sourceOf('auth_type')}.`,
      })
    }
    return [{ method, signIn }]
  }
  refuseMixture(config)
  const candidates: Candidate[] = []
  for (const method of METHODS) {
    const signIn = method.configure(config, env)
    if (signIn === undefined) continue
    candidates.push({ method, signIn })
    // What was set on purpose is not fallen back from: its error is what the user must read.
    if (method.ambient !== true) break
  }
  if (candidates.length === 0) throw nothingConfigured(config, [])
  return candidates
}

/** Sends no request before the first token is wanted. */
export class TokenSource {
  readonly #candidates: readonly Candidate[]
  readonly #config: ConfigWithHost
  readonly #deps: SignInDeps
  /**
   * Without a timer: it is used about once an hour, when a database credential is minted, so that an
   * idle laptop runs no CLI.
   */
  readonly #token: FreshValue<WorkspaceToken>
  readonly #closing = new AbortController()
  #chosen: Candidate | undefined
  /** The way that is being tried, or was last. */
  #current: Candidate

  /** Errors: kind `config`, when settings contradict each other or are missing. */
  constructor(config: DatabricksConfig, deps: SignInDeps) {
    if (config.host === undefined) throw noHost(config)
    this.#config = config as ConfigWithHost
    this.#deps = deps
    this.#candidates = chooseCandidates(this.#config, deps.env)
    this.#chosen = this.#candidates.length === 1 ? this.#candidates[0] : undefined
    this.#current = this.#candidates[0]!
    const { clock, log } = deps
    this.#token = new FreshValue({
      clock,
      fetch: () => this.#fetch(),
      // As Databricks' SDKs.
      staleMs: (lifeMs) => Math.min(lifeMs / 2, MAX_STALE_MS),
      retryMs: () => RETRY_MS,
      failedBehind: (error) =>
        log.warn({ err: error }, 'could not refresh the workspace token ahead of expiry'),
    })
  }

  /** The way in use; undefined while several are left to try. */
  get type(): string | undefined {
    return this.#chosen?.method.type
  }

  /** What to type when the workspace does not take its tokens. */
  get hint(): string {
    return (this.#chosen ?? this.#candidates[0]!).signIn.hint
  }

  /**
   * A caller is told of a slow program before its own time is up, and the program goes on: the
   * next caller may find its token. Requests over HTTP end by themselves.
   */
  get(signal: AbortSignal): Promise<WorkspaceToken> {
    const { clock, patienceMs } = this.#deps
    if (this.#candidates.every(({ signIn }) => signIn.program === undefined)) {
      return this.#token.get(signal)
    }
    const reason = (): ProxyError => this.#slow(patienceMs)
    return withDeadline({ clock, ms: patienceMs, reason, signals: [signal] }, (limit) =>
      this.#token.get(limit),
    )
  }

  /** Returns the successor of a token that was refused, or undefined when asking would not help. */
  async renew(token: WorkspaceToken, signal: AbortSignal): Promise<WorkspaceToken | undefined> {
    if (this.#chosen?.signIn.fixed === true) return undefined
    return this.#token.renew(token, signal)
  }

  /** Ends what is under way. Safe to call twice. */
  close(): void {
    this.#closing.abort(new ProxyError('stopping', 'the proxy is stopping'))
  }

  #slow(waitedMs: number): ProxyError {
    const { method, signIn } = this.#current
    const seconds = `${waitedMs / 1000} s`
    if (signIn.program === undefined) {
      return new ProxyError('credential', `signing in with ${method.type} takes over ${seconds}`)
    }
    return new ProxyError(
      'credential',
      `the program "${signIn.program}" did not answer in ${seconds}`,
      {
        hint: 'Run it by hand to see what it waits for.',
      },
    )
  }

  async #fetch(): Promise<WorkspaceToken> {
    // A signal of its own, so that it may be linked to many requests and leaves no listeners behind.
    const limit = new LinkedAbort(this.#closing.signal)
    try {
      const call = { ...this.#deps, signal: limit.signal }
      if (this.#chosen !== undefined) return await this.#chosen.signIn.fetchToken(call)
      return await this.#firstThatWorks(call)
    } catch (error) {
      if (error instanceof NotConfigured) throw nothingConfigured(this.#config, [error.message])
      throw error
    } finally {
      limit.release()
    }
  }

  async #firstThatWorks(call: TokenCall): Promise<WorkspaceToken> {
    const failures: { type: string; error: unknown }[] = []
    for (const candidate of this.#candidates) {
      const { type } = candidate.method
      this.#current = candidate
      try {
        const token = await candidate.signIn.fetchToken(call)
        this.#chosen = candidate
        this.#deps.log.debug({ type }, 'signed in to the workspace')
        return token
      } catch (error) {
        if (call.signal.aborted) throw error
        this.#deps.log.debug({ type, err: error }, 'could not sign in this way')
        failures.push({ type, error })
      }
    }
    throw this.#noneWorked(failures)
  }

  #noneWorked(failures: readonly { type: string; error: unknown }[]): ProxyError {
    const real = failures.filter(({ error }) => !(error instanceof NotConfigured))
    const first = real[0]?.error
    const reasons = failures.map(({ type, error }) => `${type}: ${messageOf(error)}`)
    if (!(first instanceof ProxyError)) return nothingConfigured(this.#config, reasons)
    if (real.length === 1) return first
    return new ProxyError(first.kind, `could not sign in to ${this.#config.host}`, {
      cause: first,
      detail: reasons.join('; '),
      hint: first.hint,
    })
  }
}

/** "more than one authorization method configured", as the SDKs say it. */
function refuseMixture(config: DatabricksConfig): void {
  const families = new Map<string, string[]>()
  for (const { name, family } of SIGN_IN_ATTRIBUTES) {
    if (family === undefined || config.get(name) === undefined) continue
    families.set(family, [...(families.get(family) ?? []), name])
  }
  for (const method of METHODS) {
    const own = method.attributes.some(({ family }) => family !== undefined && families.has(family))
    if (!own || method.shares === undefined) continue
    for (const [family, names] of families) {
      const isOwn = method.attributes.some((attribute) => attribute.family === family)
      if (!isOwn && names.every((name) => method.shares?.includes(name))) families.delete(family)
    }
  }
  if (families.size <= 1) return
  const names = [...families.keys()].sort()
  const sources = [...families.values()].flat().map((name) => config.sourceOf(name))
  throw new ProxyError(
    'config',
    `more than one authorization method configured: ${names.join(' and ')}`,
    {
      detail: `They are set by ${[...new Set(sources)].join(', ')}.`,
      hint: `Unset all but one, or choose with DATABRICKS_AUTH_TYPE (${typeNames()}).`,
    },
  )
}

function unknownType(asked: string, config: DatabricksConfig): ProxyError {
  return new ProxyError('config', `authentication type "${asked}" is not supported`, {
    detail: `It is set by ${config.sourceOf('auth_type')}.`,
    hint: `Choose one of ${typeNames()}.${asked === 'external-browser' ? ' For a login in the browser: databricks auth login, then databricks-cli.' : ''}`,
  })
}

function noHost(config: DatabricksConfig): ProxyError {
  return new ProxyError('config', 'no Databricks workspace host is set', {
    detail: `${config.profile.note}.`,
    hint: profileHint(config),
  })
}

/** What to type next. A login makes a profile that is not DEFAULT, so it is not the answer twice. */
function profileHint({ profile }: DatabricksConfig): string {
  const [first, ...others] = profile.choices
  if (first === undefined) {
    return 'Set DATABRICKS_HOST, or log in with: databricks auth login --host https://<workspace>'
  }
  const rest = others.length === 0 ? '' : ` (or ${others.join(', ')})`
  return `Choose a profile: --profile ${first}${rest}.`
}

/** A profile is named in the command: otherwise the login would make another, after the host. */
function nothingConfigured(config: DatabricksConfig, reasons: readonly string[]): ProxyError {
  const basic = config.get('username') === undefined ? [] : ['basic: ended by Databricks in 2024']
  const { host, profile } = config
  const isInstalled = !reasons.some((reason) => reason.includes('no program "databricks"'))
  const first = isInstalled ? 'Log in with' : 'Install the Databricks CLI and log in with'
  const named = profile.name === undefined ? '' : ` --profile ${profile.name}`
  const { choices } = profile
  const others = choices.length === 0 ? '' : ` Other profiles: ${choices.join(', ')}.`
  return new ProxyError('config', `no way to sign in to ${host} is configured`, {
    detail: [...basic, ...reasons, profile.note].join('; '),
    hint: `${first}: databricks auth login --host ${host}${named}; or set DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET.${others}`,
  })
}

function typeNames(): string {
  return METHODS.map(({ type }) => type).join(', ')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
