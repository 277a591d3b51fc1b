/**
 * What the emulated workspace holds: who may sign in, Provisioned instances, Autoscaling projects
 * with their branches and endpoints, and the host names all these are reached at. State changes
 * take time, as they do there.
 */

import { randomUUID } from 'node:crypto'

import type { Clock } from '../core/clock.js'

export interface Identity {
  /** An e-mail, or a service principal's application id: also the name of its role. */
  readonly userName: string
  readonly displayName: string
  readonly kind: 'user' | 'service_principal'
  /** Personal access token. */
  readonly pat?: string
  /** OAuth secret of a service principal; its client id is the user name. */
  readonly clientSecret?: string
  readonly groups: readonly string[]
  /** False: has no role in the databases. */
  readonly hasRole: boolean
  /** In every project. */
  readonly projectRight: 'CAN_MANAGE' | 'CAN_USE'
}

export type InstanceState =
  | 'STARTING'
  | 'AVAILABLE'
  | 'UPDATING'
  | 'FAILING_OVER'
  | 'UPGRADING'
  | 'STOPPED'
  | 'DELETING'

export interface Instance {
  readonly name: string
  readonly uid: string
  state: InstanceState
  readonly readWriteHost: string
  readonly readOnlyHost: string | undefined
  readonly createdAt: number
}

export type EndpointState = 'INIT' | 'ACTIVE' | 'IDLE' | 'DEGRADED'

export interface Endpoint {
  /** `projects/P/branches/B/endpoints/E` */
  readonly name: string
  readonly uid: string
  readonly type: 'READ_WRITE' | 'READ_ONLY'
  state: EndpointState
  /** Where it is going while its state changes. */
  pendingState?: EndpointState | undefined
  /** When the last login was. */
  lastActiveAt?: number
  disabled: boolean
  readonly host: string
  readonly readOnlyHost: string | undefined
  readonly pooledHost: string
  readonly createdAt: number
}

export type BranchState = 'INIT' | 'READY' | 'ARCHIVED' | 'IMPORTING' | 'RESETTING'

export interface Branch {
  /** `projects/P/branches/B` */
  readonly name: string
  readonly uid: string
  readonly isDefault: boolean
  isProtected: boolean
  createdAt: number
  updatedAt: number
  state: BranchState
  /** The branch whose data it began with. */
  readonly source: string | undefined
  expireAt: number | undefined
  /** Deleted softly: its name is reserved. */
  deletedAt: number | undefined
  readonly endpoints: Endpoint[]
}

export interface Project {
  /** `projects/P` */
  readonly name: string
  readonly uid: string
  readonly displayName: string
  readonly createdAt: number
  readonly branches: Branch[]
}

export interface Inventory {
  readonly workspaceId: string
  readonly identities: Identity[]
  readonly instances: Instance[]
  readonly projects: Project[]
}

/** The user whose personal access token the printed environment holds. */
export const demoUser: Identity = {
  userName: 'ada@example.com',
  displayName: 'Ada Lovelace',
  kind: 'user',
  pat: 'dapi00000000000000000000000000000ada',
  groups: ['analysts'],
  hasRole: true,
  projectRight: 'CAN_MANAGE',
}

export const servicePrincipal: Identity = {
  userName: '5f1c3c1e-0b7a-4c58-9a51-2d4f6c8e0a13',
  displayName: 'demo-service-principal',
  kind: 'service_principal',
  clientSecret: 'dose0000000000000000000000000secret',
  groups: ['analysts'],
  hasRole: true,
  projectRight: 'CAN_MANAGE',
}

/** Groups that have a role of their own. */
export const groups: readonly string[] = ['analysts']

/** The default: something of every kind that a user or a test may need. */
export function demoInventory(now: number): Inventory {
  const createdAt = now - 30 * 24 * 3600_000
  return {
    workspaceId: '1234567890123456',
    identities: [demoUser, servicePrincipal],
    instances: [
      instance('demo-instance', 'AVAILABLE', createdAt, { readOnly: true }),
      instance('stopped-instance', 'STOPPED', createdAt),
      instance('second-instance', 'AVAILABLE', createdAt),
    ],
    projects: [
      project('demo', createdAt, [{ id: 'production' }]),
      // Where a bare `projects/many` must choose: the default branch, its read-write endpoint.
      project('many', createdAt, [
        { id: 'production', endpoints: ['primary', 'replica'] },
        { id: 'dev' },
        { id: 'idle', state: 'IDLE' },
        { id: 'disabled', state: 'DISABLED' },
      ]),
    ],
  }
}

export function instance(
  name: string,
  state: InstanceState,
  createdAt: number,
  options: { readOnly?: boolean } = {},
): Instance {
  const uid = randomUUID()
  return {
    name,
    uid,
    state,
    readWriteHost: `instance-${uid}.database.cloud.databricks.com`,
    readOnlyHost: options.readOnly ? `instance-ro-${uid}.database.cloud.databricks.com` : undefined,
    createdAt,
  }
}

export interface BranchPlan {
  readonly id: string
  /** Default: that of its project. */
  readonly createdAt?: number
  /** The ids of its endpoints; `replica` in one makes it read-only. Default: `primary` alone. */
  readonly endpoints?: readonly string[]
  readonly state?: EndpointState | 'DISABLED'
}

/** The first branch is its default. */
export function project(id: string, createdAt: number, branches: readonly BranchPlan[]): Project {
  const name = `projects/${id}`
  return {
    name,
    uid: randomUUID(),
    displayName: id,
    createdAt,
    branches: branches.map((plan, at) => {
      const { endpoints = ['primary'], state = 'ACTIVE' } = plan
      const path = `${name}/branches/${plan.id}`
      const madeAt = plan.createdAt ?? createdAt
      return {
        name: path,
        uid: branchUid(),
        ...{ isDefault: at === 0, isProtected: false, state: 'READY' },
        ...{ createdAt: madeAt, updatedAt: madeAt },
        ...{ source: undefined, expireAt: undefined, deletedAt: undefined },
        endpoints: endpoints.map((each) => newEndpoint(`${path}/endpoints/${each}`, madeAt, state)),
      }
    }),
  }
}

export function branchUid(): string {
  return `br-${randomWords()}`
}

export function newEndpoint(
  name: string,
  createdAt: number,
  state: EndpointState | 'DISABLED',
): Endpoint {
  const uid = `ep-${randomWords()}`
  const region = 'database.us-west-2.cloud.databricks.com'
  const readOnly = name.includes('replica')
  return {
    name,
    uid,
    type: readOnly ? 'READ_ONLY' : 'READ_WRITE',
    state: state === 'DISABLED' ? 'IDLE' : state,
    disabled: state === 'DISABLED',
    host: `${uid}.${region}`,
    readOnlyHost: readOnly ? `${uid}.${region}` : undefined,
    pooledHost: `${uid}-pooler.${region}`,
    createdAt,
  }
}

function randomWords(): string {
  return `quiet-river-${randomUUID().slice(0, 8)}`
}

/** Starts or stops an instance; it is on its way for `transitionMs`. */
export function changeState(
  instance: Instance,
  to: 'AVAILABLE' | 'STOPPED',
  transitionMs: number,
  clock: Clock,
): void {
  if (instance.state === to) return
  if (to === 'STOPPED') {
    instance.state = 'STOPPED'
    return
  }
  if (instance.state === 'STARTING') return
  instance.state = 'STARTING'
  clock.after(transitionMs, () => {
    if (instance.state === 'STARTING') instance.state = 'AVAILABLE'
  })
}
