/**
 * An emulator with a handle by which tests steer it and see what it saw. Everything takes effect for
 * the next call or connection; nothing here reaches into the proxy.
 */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import { issueCertificate, makeAuthority } from '../../src/core/certificates.js'
import { type Clock, systemClock } from '../../src/core/clock.js'
import type { Behaviour } from '../../src/emulator/behaviour.js'
import { destinations, endpoints } from '../../src/emulator/destinations.js'
import type { DnsRecord } from '../../src/emulator/dns.js'
import {
  type Emulator as BareEmulator,
  type EmulatorOptions,
  type EmulatorParts,
  startEmulator as startBareEmulator,
} from '../../src/emulator/emulator.js'
import type { FrontConnection, FrontPhase } from '../../src/emulator/front-connection.js'
import { type Refusal, Refused, refusals } from '../../src/emulator/front-messages.js'
import {
  type Branch,
  changeState,
  demoInventory,
  type Endpoint,
  type Identity,
  type Instance,
  type InstanceState,
} from '../../src/emulator/inventory.js'
import { newIdentityRole } from '../../src/emulator/postgres.js'
import type { IssuedToken } from '../../src/emulator/tokens.js'
import type { ReceivedCall } from '../../src/emulator/workspace-api.js'
import { type ApiName, apiNameOf, githubIdToken } from './emulator-api-names.js'
import {
  type ApiFault,
  Faults,
  type FrontFault,
  spoilCall,
  spoilConnection,
} from './emulator-faults.js'
import { otherUser, userWithoutRole } from './identities.js'

export interface Emulator extends BareEmulator {
  readonly control: EmulatorControl
}

export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const control = new EmulatorControl(options.clock ?? systemClock)
  const { clock } = control
  const inventory = options.inventory ?? demoInventory(clock.now())
  const identities = [...new Set([...inventory.identities, otherUser, userWithoutRole])]
  const emulator = await startBareEmulator({
    ...options,
    ...{ clock, inventory: { ...inventory, identities } },
    onPhase: (...reached) => control.connectionReached(...reached),
    onCall: (...received) => control.callReceived(...received),
  })
  control.steer(emulator.parts)
  return { ...emulator, control }
}

/** A call that came in, answered or not. */
export interface RecordedCall extends ReceivedCall {
  readonly api: ApiName
}

/** A connection to the front door, open or closed. */
export interface RecordedConnection extends FrontConnection {
  /** The port it came from. */
  readonly remotePort: number | undefined
  /** The last that it has reached. */
  readonly phase: FrontPhase
}

/** What the emulator itself never does: it misbehaves only where a test wants it. */
export interface Misbehaviour {
  /**
   * What a waking endpoint does with connections: it holds the login, or refuses it with one of these
   * texts.
   */
  whileWaking: 'hold' | keyof typeof wakingRefusals
  /** A branch younger than this refuses logins. */
  youngMs: number
  /** Whether a young branch refuses before it asks for the password (28000), or after it (28P01). */
  youngRefusal: 'external authorization' | 'password'
}

/** What may be said while a compute wakes: the family that the real one is known for. */
export const wakingRefusals = {
  'starting up': {
    ...{ severity: 'FATAL', sqlState: '57P03' },
    message: 'the database system is starting up',
  },
  'no connection': {
    ...{ severity: 'FATAL', sqlState: '08006' },
    message: 'could not connect to the compute',
  },
  'no compute': {
    ...{ severity: 'ERROR', sqlState: 'XX000' },
    message: "Couldn't connect to compute node",
  },
  unavailable: refusals.unavailable,
} as const satisfies Record<string, Refusal>

/** Which certificate is shown: the right one, or a certificate that clients must refuse. */
export type CertificateKind = 'right' | 'wrong-name' | 'expired' | 'untrusted'

export class EmulatorControl {
  /** The emulator's own. */
  readonly clock: Clock
  /** How far that is ahead of ours. */
  clockSkewMs = 0
  #emulator: EmulatorParts | undefined
  readonly #calls: RecordedCall[] = []
  readonly #apiFaults = new Faults<ApiName, ApiFault>()
  readonly #frontFaults = new Faults<FrontPhase, FrontFault>()
  readonly #open = new Map<Socket, RecordedConnection>()
  /** Every login that succeeded, in order; of native roles also those that PostgreSQL then refuses. */
  readonly logins: RecordedConnection[] = []
  /** Connections accepted since start, open or closed. */
  acceptedCount = 0
  /** CancelRequests handed on to PostgreSQL. */
  cancelCount = 0

  constructor(ours: Clock) {
    this.clock = {
      now: () => ours.now() + this.clockSkewMs,
      monotonic: () => ours.monotonic(),
      after: (...wait) => ours.after(...wait),
    }
  }

  /** From here on there is something to steer. */
  steer(parts: EmulatorParts): void {
    this.#emulator = parts
    const none: Misbehaviour = {
      ...{ whileWaking: 'hold', youngMs: 0, youngRefusal: 'external authorization' },
    }
    Object.assign(parts.behaviour, none)
  }

  get #parts(): EmulatorParts {
    if (this.#emulator === undefined) throw new Error('the emulator has not started yet')
    return this.#emulator
  }

  // The workspace

  /** Assign to change. */
  get behaviour(): Behaviour & Misbehaviour {
    const { behaviour } = this.#parts
    return behaviour as Behaviour & Misbehaviour
  }

  /** Calls so far, of one API or of all. */
  calls(api?: ApiName): readonly RecordedCall[] {
    return this.#calls.filter((call) => api === undefined || call.api === api)
  }

  callCount(api?: ApiName): number {
    return this.calls(api).length
  }

  /** The next `times` calls of `api` (undefined: of any API) fail in this way. */
  failApi(api: ApiName | undefined, fault: ApiFault, times = Number.POSITIVE_INFINITY): void {
    this.#apiFaults.add(api, fault, times)
  }

  /** Adds identities that can sign in and have their roles in the databases of the first cluster. */
  async addIdentities(identities: readonly Identity[]): Promise<void> {
    const { inventory, postgres } = this.#parts
    const { identityPassword } = postgres
    const roles = identities.filter(({ hasRole }) => hasRole)
    await postgres.query(
      roles.map(({ userName }) => newIdentityRole(userName, identityPassword)).join(';'),
    )
    inventory.identities.push(...identities)
  }

  /** Revokes all secrets of an identity. Its role stays. */
  removeIdentity(userName: string): void {
    const { identities } = this.#parts.inventory
    const at = identities.findIndex((each) => each.userName === userName)
    if (at !== -1) identities.splice(at, 1)
  }

  instance(name: string): Instance {
    return found(this.#parts.inventory.instances, name)
  }

  /** Sets the state at once. `startInstance` goes through STARTING, as the API does. */
  setInstanceState(name: string, state: InstanceState): void {
    this.instance(name).state = state
  }

  startInstance(name: string): void {
    const { transitionMs } = this.behaviour
    changeState(this.instance(name), 'AVAILABLE', transitionMs, this.clock)
  }

  stopInstance(name: string): void {
    this.setInstanceState(name, 'STOPPED')
  }

  /** The endpoint `projects/P/branches/B/endpoints/E`; its `state` and `disabled` may be assigned. */
  endpoint(path: string): Endpoint {
    return found(endpoints(this.#parts.inventory), path)
  }

  /** The branch `projects/P/branches/B`; its `createdAt` may be assigned. */
  branch(path: string): Branch {
    return found(
      this.#parts.inventory.projects.flatMap((each) => each.branches),
      path,
    )
  }

  /** The branches of the project `projects/P`, with deleted ones that can be brought back. */
  branches(project: string): readonly Branch[] {
    return this.#parts.branches.all(found(this.#parts.inventory.projects, project))
  }

  /** A branch of the project's default one, made past the API. Resolves when it takes connections. */
  async createBranch(project: string, id: string): Promise<Branch> {
    const { inventory, branches } = this.#parts
    const plan = { id, source: undefined, isProtected: false, expiry: { noExpiry: true } } as const
    const { branch, made } = branches.create(found(inventory.projects, project), plan)
    await made
    return branch
  }

  /** Ends its sessions with 57P01; the next connection wakes it. */
  async suspendEndpoint(path: string): Promise<void> {
    const endpoint = this.endpoint(path)
    endpoint.state = 'IDLE'
    const processIds = this.connections()
      .filter(({ host }) => host === endpoint.host)
      .flatMap(({ processId }) => processId ?? [])
    if (processIds.length === 0) return
    const { uid } = this.branch(path.split('/').slice(0, 4).join('/'))
    const postgres = await this.#parts.clusters.postgres(uid)
    await postgres.query(`select pg_terminate_backend(pid) from unnest(array[${processIds}]) pid`)
  }

  // Tokens

  /** A database credential, minted past the API. */
  mintToken(identity: Identity, options: { lifeMs?: number; group?: string } = {}): IssuedToken {
    const { lifeMs = this.behaviour.tokenTtlMs, group } = options
    return this.#parts.tokens.mint({ use: 'database', identity, lifeMs, group })
  }

  /** Number of the latest database credential: how many were minted. */
  get mintedCount(): number {
    return this.#parts.tokens.count('database')
  }

  /** An OAuth access token of the workspace, as a person's tool has one. */
  mintWorkspaceToken(identity: Identity, lifeMs = 3600_000): IssuedToken {
    return this.#parts.tokens.mint({ use: 'workspace', identity, lifeMs })
  }

  revokeTokens(use: IssuedToken['use']): void {
    this.#parts.tokens.revokeAll(use)
  }

  // The front door

  /** The next `times` connections that reach that phase fail in this way. */
  failFront(fault: FrontFault, times = Number.POSITIVE_INFINITY): void {
    this.#frontFaults.add(fault.at, fault, times)
  }

  /** Connections to the front door that are open now. */
  connections(): readonly RecordedConnection[] {
    return [...this.#open.values()]
  }

  resetConnections(): void {
    for (const socket of this.#open.keys()) socket.resetAndDestroy()
  }

  async showCertificate(kind: CertificateKind): Promise<void> {
    const { authority, front } = this.#parts
    const life = { now: Date.now(), days: 1 }
    const signer = kind === 'untrusted' ? await makeAuthority('Another authority', life) : authority
    const shown = kind === 'expired' ? { ...life, days: -1 / 24 } : life
    await front.certify((names) => {
      const hosts = kind === 'wrong-name' ? ['wrong-name.example.com'] : names
      return issueCertificate(signer, { hosts, addresses: [] }, shown)
    })
  }

  // The rest

  setDns(name: string, record: DnsRecord): void {
    this.#parts.dns.set(name, record)
  }

  /** Asks PostgreSQL itself, as its superuser. */
  query(sql: string, database?: string): Promise<(string | null)[][]> {
    return this.#parts.postgres.query(sql, database)
  }

  get postgresPid(): number {
    return this.#parts.postgres.pid
  }

  /** Takes back all faults that have not been used yet. */
  clearFaults(): void {
    this.#apiFaults.clear()
    this.#frontFaults.clear()
  }

  // What the emulator tells

  async connectionReached(
    phase: FrontPhase,
    connection: FrontConnection,
    socket: Socket,
  ): Promise<void> {
    const recorded = Object.assign(connection, { phase, remotePort: socket.remotePort })
    if (phase === 'accept') {
      this.acceptedCount++
      this.#open.set(socket, recorded)
      socket.once('close', () => this.#open.delete(socket))
    }
    if (phase === 'login') this.logins.push(recorded)
    if (phase === 'cancel') this.cancelCount++
    const fault = this.#frontFaults.take(phase)
    if (fault !== undefined) await spoilConnection(fault, socket)
    this.#refuseAsCompute(phase, connection)
  }

  #refuseAsCompute(phase: FrontPhase, { host, parameters }: FrontConnection): void {
    if (phase !== 'startup' && phase !== 'password' && phase !== 'compute') return
    const { whileWaking, youngMs, youngRefusal } = this.behaviour
    const { computes, inventory } = this.#parts
    const destination = destinations(inventory).find((each) => each.host === host)
    if (destination?.kind !== 'autoscaling') return
    const { branch, endpoint } = destination
    const isYoung = this.clock.now() - branch.createdAt < youngMs
    if (isYoung && phase === 'startup' && youngRefusal === 'external authorization') {
      throw new Refused(refusals.externalAuthorization('Branch is not known yet.'))
    }
    if (isYoung && phase === 'password' && youngRefusal === 'password') {
      throw new Refused(refusals.password(parameters.get('user') ?? ''))
    }
    if (phase === 'compute' && endpoint.state === 'IDLE' && whileWaking !== 'hold') {
      computes.enter(destination).catch(() => {}) // wakes it
      throw new Refused(wakingRefusals[whileWaking])
    }
  }

  async callReceived(
    call: ReceivedCall,
    answer: () => void,
    response: ServerResponse,
  ): Promise<void> {
    const api = apiNameOf(call)
    this.#calls.push({ ...call, api })
    const { behaviour } = this
    const fault = this.#apiFaults.take(api)
    if (fault !== undefined) {
      const date = new Date(this.clock.now()).toUTCString()
      const expired = (): void => {
        const { tokenTtlMs } = behaviour
        behaviour.tokenTtlMs = -5_000
        answer()
        behaviour.tokenTtlMs = tokenTtlMs
      }
      return spoilCall(fault, response, { answer, expired, date })
    }
    if (api === 'github-id-token') return githubIdToken(call, response)
    answer()
  }
}

function found<Named extends { readonly name: string }>(
  list: readonly Named[],
  name: string,
): Named {
  const match = list.find((each) => each.name === name)
  if (match === undefined) throw new Error(`the emulator has no ${name}`)
  return match
}
