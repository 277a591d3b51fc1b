/**
 * The Lakebase emulator: builds each part once and joins them. A workspace API, the DNS server that
 * alone knows its host names, the TLS front door, and real PostgreSQL behind it, all on loopback
 * ports, all gone after close().
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type CertifiedPair, issueCertificate, makeAuthority } from '../core/certificates.js'
import { type Clock, systemClock } from '../core/clock.js'
import { type Behaviour, behaviourWith } from './behaviour.js'
import { BranchClusters } from './branch-clusters.js'
import { Branches } from './branches.js'
import { Computes } from './computes.js'
import { branchDestinations, destinations } from './destinations.js'
import { type DnsServer, startDns } from './dns.js'
import { type Front, startFront } from './front.js'
import type { OnPhase } from './front-connection.js'
import { demoInventory, demoUser, groups, type Inventory } from './inventory.js'
import { Operations } from './operations.js'
import { type NativeRole, startPostgres } from './postgres.js'
import type { Postgres } from './postgres-server.js'
import { TokenIssuer } from './tokens.js'
import { type OnCall, startWorkspaceApi } from './workspace-api.js'

export interface EmulatorOptions {
  /** Life of database credentials where the request names none. Default: an hour. */
  tokenTtlMs?: number
  /** The port of the workspace API. Default: a free one. */
  port?: number
  /** The port of the front door. Default: a free one. */
  frontPort?: number
  /** The port of the DNS server. Default: a free one. */
  dnsPort?: number
  /** Default: one Provisioned instance `demo-instance`, one project `demo`, and more: inventory.ts. */
  inventory?: Inventory
  /** Roles with a Postgres password, for static URLs. Default: `app` (SCRAM) and `legacy` (cleartext). */
  nativeRoles?: readonly NativeRole[]
  maxConnections?: number
  /** How long the front door waits for a StartupMessage. Default: 15 s, as the real one. */
  handshakeTimeoutMs?: number
  /** How long a stopped instance takes to start. Default: 1 s. */
  transitionMs?: number
  clock?: Clock
  onPhase?: OnPhase
  onCall?: OnCall
}

/** What it is made of, for the demo and for tests, which steer it. */
export interface EmulatorParts {
  readonly inventory: Inventory
  readonly tokens: TokenIssuer
  readonly behaviour: Behaviour
  readonly branches: Branches
  readonly authority: CertifiedPair
  readonly dns: DnsServer
  readonly postgres: Postgres
  readonly clusters: BranchClusters
  readonly computes: Computes
  readonly front: Front
}

export interface Emulator {
  /** `http://127.0.0.1:port` */
  readonly workspaceUrl: string
  readonly frontPort: number
  /** `127.0.0.1:port` */
  readonly dnsServer: string
  readonly caFile: string
  readonly caPem: string
  /** What lakebase-proxy needs in its environment to use this workspace. */
  readonly env: Readonly<Record<string, string>>
  /** What there is to connect to, as TARGETs. */
  readonly targets: readonly string[]
  readonly parts: EmulatorParts
  close(): Promise<void>
}

const defaultNativeRoles: readonly NativeRole[] = [
  { name: 'app', password: 'app-password', method: 'scram-sha-256' },
  { name: 'legacy', password: 'legacy-password', method: 'password' },
]

/** Errors: `config` when PostgreSQL is not installed or cannot run here. */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const clock = options.clock ?? systemClock
  const inventory = options.inventory ?? demoInventory(clock.now())
  const nativeRoles = options.nativeRoles ?? defaultNativeRoles
  const { tokenTtlMs, transitionMs } = options
  const behaviour = behaviourWith({
    ...(tokenTtlMs !== undefined && { tokenTtlMs }),
    ...(transitionMs !== undefined && { transitionMs }),
  })
  const tokens = new TokenIssuer(clock, inventory.workspaceId)
  const hosts = new Map(destinations(inventory).map((each) => [each.host, each]))
  // Closed in the reverse order of this list, whether start-up came to its end or not.
  const closers: (() => Promise<void>)[] = []
  const close = closeOnce(closers)
  try {
    const directory = await mkdtemp(join(tmpdir(), 'lakebase-emulator-'))
    closers.push(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
    const authority = await makeAuthority('Lakebase emulator', { now: Date.now(), days: 30 })
    const caFile = join(directory, 'ca.pem')
    await writeFile(caFile, authority.cert, { mode: 0o644 })
    const { postgres, home } = await startPostgres({
      directory,
      roles: [
        ...inventory.identities.filter((each) => each.hasRole).map((each) => each.userName),
        ...groups,
      ],
      nativeRoles,
      maxConnections: options.maxConnections ?? 300,
    })
    closers.push(() => postgres.close())
    const clusters = new BranchClusters(home, postgres)
    closers.push(() => clusters.close())
    const computes = new Computes({ clock, behaviour, clusters })
    const front = await startFront({
      ...{ clusters, computes, tokens, clock, behaviour },
      issue: (hosts) =>
        issueCertificate(authority, { hosts, addresses: [] }, { now: Date.now(), days: 7 }),
      destinations: hosts,
      nativeRoles: new Set(nativeRoles.map((role) => role.name)),
      port: options.frontPort ?? 0,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 15_000,
      onPhase: options.onPhase ?? (() => {}),
    })
    closers.push(() => front.close())
    const dns = await startDns([...hosts.keys()], ['127.0.0.1'], options.dnsPort ?? 0)
    closers.push(() => dns.close())
    const branches = new Branches({
      ...{ clock, behaviour, clusters },
      publish(branch) {
        for (const each of branchDestinations(branch)) {
          hosts.set(each.host, each)
          dns.set(each.host, { addresses: ['127.0.0.1'] })
        }
      },
      withdraw(branch) {
        for (const { host } of branchDestinations(branch)) {
          hosts.delete(host)
          dns.set(host, { addresses: [], failure: 'NXDOMAIN' })
        }
      },
    })
    const api = await startWorkspaceApi({
      ...{ inventory, tokens, clock, behaviour, branches },
      operations: new Operations(),
      onCall: options.onCall ?? ((_, answer) => answer()),
      port: options.port ?? 0,
    })
    closers.push(() => api.close())
    return {
      workspaceUrl: api.url,
      frontPort: front.port,
      dnsServer: dns.address,
      caFile,
      caPem: authority.cert,
      env: {
        DATABRICKS_HOST: api.url,
        DATABRICKS_TOKEN: demoUser.pat ?? '',
        LAKEBASE_PROXY_RESOLVER: dns.address,
        LAKEBASE_PROXY_SSLROOTCERT: caFile,
        LAKEBASE_PROXY_UPSTREAM_PORT: `${front.port}`,
      },
      targets: [
        ...inventory.instances.map((each) => each.name),
        ...inventory.projects.map((each) => each.name),
      ],
      parts: {
        ...{ inventory, tokens, behaviour, branches, authority },
        ...{ dns, postgres, clusters, computes, front },
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Safe to call twice: the second call waits for the first. */
function closeOnce(closers: (() => Promise<void>)[]): () => Promise<void> {
  let closing: Promise<void> | undefined
  const closeAll = async (): Promise<void> => {
    for (const closer of closers.toReversed()) await closer()
  }
  return () => {
    closing ??= closeAll()
    return closing
  }
}
