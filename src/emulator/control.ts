/**
 * The handle by which tests and the demo steer a running emulator and see what it saw. Everything
 * takes effect for the next call or connection; nothing here reaches into the proxy.
 */

import type { Clock } from '../core/clock.js'
import type { ApiName } from './api-route.js'
import type { Behaviour } from './behaviour.js'
import type { Branches } from './branches.js'
import type { Computes } from './computes.js'
import { endpoints } from './destinations.js'
import type { DnsRecord, DnsServer } from './dns.js'
import type { CertificateKind, Front } from './front.js'
import type { FrontConnection } from './front-connection.js'
import type { FrontFault, FrontFaults } from './front-faults.js'
import {
  type Branch,
  changeState,
  type Endpoint,
  type Identity,
  type Instance,
  type InstanceState,
  type Inventory,
} from './inventory.js'
import { newIdentityRole } from './postgres.js'
import type { Postgres } from './postgres-server.js'
import type { IssuedToken, TokenIssuer } from './tokens.js'
import type { ApiFault, ApiFaults, RecordedCall, WorkspaceApi } from './workspace-api.js'

export interface ControlParts {
  inventory: Inventory
  clock: Clock
  tokens: TokenIssuer
  behaviour: Behaviour
  branches: Branches
  apiFaults: ApiFaults
  frontFaults: FrontFaults
  dns: DnsServer
  postgres: Postgres
  computes: Computes
  front: Front
  api: WorkspaceApi
}

export class EmulatorControl {
  readonly #parts: ControlParts

  constructor(parts: ControlParts) {
    this.#parts = parts
  }

  // The workspace

  /** Assign to change. */
  get behaviour(): Behaviour {
    return this.#parts.behaviour
  }

  /** Calls so far, of one API or of all. */
  calls(api?: ApiName): readonly RecordedCall[] {
    const { calls } = this.#parts.api
    return api === undefined ? calls : calls.filter((call) => call.api === api)
  }

  callCount(api?: ApiName): number {
    return this.calls(api).length
  }

  /** The next `times` calls of `api` (undefined: of any API) fail in this way. */
  failApi(api: ApiName | undefined, fault: ApiFault, times = Number.POSITIVE_INFINITY): void {
    this.#parts.apiFaults.add(api, fault, times)
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
    const { behaviour, clock } = this.#parts
    changeState(this.instance(name), 'AVAILABLE', behaviour.transitionMs, clock)
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
  suspendEndpoint(path: string): Promise<void> {
    const branch = this.branch(path.split('/').slice(0, 4).join('/'))
    return this.#parts.computes.suspend(branch, this.endpoint(path))
  }

  // Tokens

  /** A database credential, minted past the API. */
  mintToken(identity: Identity, options: { lifeMs?: number; group?: string } = {}): IssuedToken {
    const lifeMs = options.lifeMs ?? this.#parts.behaviour.tokenTtlMs
    const { group } = options
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
    this.#parts.frontFaults.add(fault.at, fault, times)
  }

  /** Connections to the front door that are open now. */
  connections(): readonly FrontConnection[] {
    return this.#parts.front.connections()
  }

  /** Every login that succeeded, in order. */
  get logins(): readonly FrontConnection[] {
    return this.#parts.front.logins
  }

  /** Connections accepted since start, open or closed. */
  get acceptedCount(): number {
    return this.#parts.front.acceptedCount
  }

  /** CancelRequests handed on to PostgreSQL. */
  get cancelCount(): number {
    return this.#parts.front.cancelCount
  }

  resetConnections(): void {
    this.#parts.front.resetConnections()
  }

  showCertificate(kind: CertificateKind): Promise<void> {
    return this.#parts.front.showCertificate(kind)
  }

  // The rest

  setDns(name: string, record: DnsRecord): void {
    this.#parts.dns.set(name, record)
  }

  dnsQueryCount(name?: string): number {
    return this.#parts.dns.queryCount(name)
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
    this.#parts.apiFaults.clear()
    this.#parts.frontFaults.clear()
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
