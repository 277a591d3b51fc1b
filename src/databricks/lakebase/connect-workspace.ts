/**
 * Joins the three folders of `databricks/`: requests, sign-in, calls. Nothing is asked of the workspace
 * until the first call.
 */

import { z } from 'zod'
import type { Target } from '../../config/schema/target-text.js'
import { ProxyError } from '../../core/errors.js'
import { Http, type HttpOptions } from '../http/http.js'
import { SIGN_IN_ATTRIBUTES, TokenSource } from '../sign-in/auth.js'
import {
  type DatabricksConfig,
  type DatabricksConfigOptions,
  type ResolvedSetting,
  resolveDatabricksConfig,
} from '../sign-in/databricks-config.js'
import { type CommandPlace, commandRunner, type RunCommand } from '../sign-in/run-command.js'
import type { SignInDeps } from '../sign-in/sign-in-method.js'
import { LakebaseBranches, type WorkspaceBranches } from './branches.js'
import { timeOf, WorkspaceClient } from './client.js'
import { mintCredential } from './credentials.js'
import { type DatabaseList, findDatabase, listDatabases } from './find-database.js'
import { setStopped } from './provisioned.js'
import { type DatabaseRole, listRoles } from './roles.js'
import type {
  DatabaseCredential,
  LakebaseDatabase,
  MintOptions,
  PersonalSignIn,
} from './workspace.js'

export interface OpenWorkspaceOptions
  extends Omit<HttpOptions, 'userAgent'>,
    Omit<DatabricksConfigOptions, 'attributes'>,
    Omit<CommandPlace, 'platform'> {
  /** Variables of the process and of `.env`, already merged. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** The version of lakebase-proxy, for the User-Agent. */
  readonly version: string
  /** Called instead of starting the CLIs on the user's PATH. */
  readonly run?: RunCommand
}

/** Where no client waits, a program has the time that a request has. */
const PATIENCE_MS = 30_000

/** Errors: kind `config`, when the settings contradict each other or do not suffice. */
export async function openWorkspace(options: OpenWorkspaceOptions): Promise<ConnectedWorkspace> {
  const { env, log, clock, homeDir } = options
  const config = await resolveDatabricksConfig({ ...options, attributes: SIGN_IN_ATTRIBUTES })
  for (const sentence of config.overridden) log.warn(sentence)
  for (const sentence of config.profile.notices) log.info(sentence)
  const http = new Http({ ...options, userAgent: `lakebase-proxy/${options.version}` })
  try {
    const deps = {
      http,
      clock,
      log,
      env,
      homeDir,
      run: options.run ?? commandRunner({ ...options, platform: process.platform }),
      patienceMs: options.budgetMs ?? PATIENCE_MS,
    }
    return new ConnectedWorkspace({ config, deps, closeHttp: () => http.close() })
  } catch (error) {
    await http.close()
    throw error
  }
}

interface Parts {
  readonly config: DatabricksConfig
  readonly deps: SignInDeps
  /** Left out where the connections are another's. */
  readonly closeHttp?: () => Promise<void>
}

/** For messages: where its credential is set. */
const GIVEN = 'the password that the client gave'

/** What the stages to the right need: who we are there, where a target lives, and a credential for it. */
export type Workspace = Pick<
  ConnectedWorkspace,
  'identity' | 'findDatabase' | 'mintCredential' | 'startDatabase' | 'branches'
>

/** A workspace as another identity than the proxy's own. */
export type PersonalWorkspace = Pick<ConnectedWorkspace, 'identity' | 'mintCredential' | 'close'>

/** Every call ends within its own budget, or when `signal` aborts. Errors are ProxyErrors. */
export class ConnectedWorkspace {
  readonly host: string
  readonly #parts: Parts
  readonly #tokens: TokenSource

  constructor(parts: Parts) {
    this.#parts = parts
    this.#tokens = new TokenSource(parts.config, parts.deps)
    this.host = parts.config.host!
  }

  /** For the API itself; its requests end when `signal` aborts. */
  client(signal: AbortSignal): WorkspaceClient {
    const { workspaceId } = this.#parts.config
    const { http } = this.#parts.deps
    const tokens = this.#tokens
    return new WorkspaceClient({ http, host: this.host, tokens, workspaceId, signal })
  }

  /** The role name of the signed-in identity: an e-mail, or a service principal's application id. */
  async identity(signal: AbortSignal): Promise<string> {
    const { userName } = await this.client(signal).request({
      path: '/api/2.0/preview/scim/v2/Me',
      schema: z.object({ userName: z.string().min(1) }),
      what: 'ask who is signed in',
      kind: 'identity',
    })
    return userName
  }

  /** Looks the target up now; nothing is cached here. */
  findDatabase(target: Target, signal: AbortSignal): Promise<LakebaseDatabase> {
    return findDatabase(target, { client: this.client(signal), log: this.#parts.deps.log })
  }

  listDatabases(signal: AbortSignal): Promise<DatabaseList> {
    return listDatabases(this.client(signal))
  }

  mintCredential(
    database: LakebaseDatabase,
    options: MintOptions,
    signal: AbortSignal,
  ): Promise<DatabaseCredential> {
    return mintCredential(this.client(signal), this.#parts.deps.clock, database, options)
  }

  /** Asks for a stopped Provisioned instance to be started; returns once the API has accepted. */
  async startDatabase(database: LakebaseDatabase, signal: AbortSignal): Promise<void> {
    if (database.kind === 'provisioned') {
      return setStopped(this.client(signal), database.name, false)
    }
    throw new ProxyError('target', `${database.name} is not started by hand`, {
      hint: 'An Autoscaling endpoint wakes when a client connects; a disabled one is enabled in the workspace.',
    })
  }

  async stopDatabase(database: LakebaseDatabase, signal: AbortSignal): Promise<void> {
    if (database.kind === 'provisioned') {
      return setStopped(this.client(signal), database.name, true)
    }
    throw new ProxyError('target', `${database.name} is not stopped by hand`, {
      hint: 'An Autoscaling endpoint suspends by itself when idle; its time-out is set in the workspace.',
    })
  }

  /** A promise, as a workspace that is still being signed in to has them later. */
  async branches(): Promise<WorkspaceBranches> {
    return new LakebaseBranches((signal) => this.client(signal), this.#parts.deps.clock)
  }

  /** Undefined when the workspace does not let us ask. */
  listRoles(database: LakebaseDatabase, signal: AbortSignal): Promise<DatabaseRole[] | undefined> {
    return listRoles(this.client(signal), database)
  }

  /** For `doctor`: secrets are `Secret`, which print redacted. */
  describeSignIn() {
    const { config } = this.#parts
    return {
      host: this.host,
      type: this.#tokens.type,
      profile: config.profile.name,
      settings: config.settings,
    }
  }

  /** The same workspace for another identity, over the same connections. Nothing is asked yet. */
  signInAs(signIn: PersonalSignIn): PersonalWorkspace {
    const { config: own, deps } = this.#parts
    const config = own.signedInWith(settingsOf(signIn))
    return new ConnectedWorkspace({ config, deps })
  }

  /**
   * One request without a token, for `doctor`. Any answer over a verified connection will do. It tells the
   * workspace's clock less ours, and the issuer of its certificate, where they are known.
   */
  async reach(signal: AbortSignal) {
    const { http, clock } = this.#parts.deps
    const url = new URL('/oidc/.well-known/oauth-authorization-server', this.host)
    const reply = await http.send({ url, signal, followRedirects: false })
    const serverTime = timeOf(reply.headers.get('date'))
    return {
      clockDifferenceMs: serverTime === undefined ? undefined : serverTime - clock.now(),
      issuer: http.issuerOf(url),
    }
  }

  /** Ends what is under way, and drops what it holds. Safe to call twice. */
  async close(): Promise<void> {
    this.#tokens.close()
    await this.#parts.closeHttp?.()
  }
}

function settingsOf(signIn: PersonalSignIn): readonly ResolvedSetting[] {
  switch (signIn.type) {
    case 'bearer':
      return [
        { name: 'auth_type', value: 'pat', source: GIVEN },
        { name: 'token', value: signIn.token, source: GIVEN },
      ]
    case 'oauth-m2m':
      return [
        { name: 'auth_type', value: 'oauth-m2m', source: GIVEN },
        { name: 'client_id', value: signIn.clientId, source: 'the user name that the client gave' },
        { name: 'client_secret', value: signIn.clientSecret, source: GIVEN },
      ]
  }
}
