/** Builds the listener of one port, which serves one target or several, and all that its clients need. */

import { BlockList } from 'node:net'

import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import type { Log } from '../core/log.js'
import type { Turns } from '../core/turns.js'
import { Listener } from '../listener/listener.js'
import type { LocalTls } from '../listener/local-tls.js'
import { ClientAuth } from '../session/client-auth.js'
import type { PasswordAttempts } from '../session/password-attempts.js'
import { People, type PeopleOptions } from '../session/people.js'
import type { ReadBuffers } from '../session/read-buffers.js'
import type { Route } from '../session/route.js'
import type { SessionObserver } from '../session/session-view.js'
import { type Canceller, type CancelRoutes, Cancels } from '../upstream/cancel.js'
import type { StartupMessage } from '../wire/frontend.js'
import type { SignedIn } from './workspaces.js'

/** Chooses the target of a client that connects to this port. */
export interface Entrance {
  route(startup: StartupMessage): Route
  /** Those of the targets that it leads to, the port's own first. */
  readonly cancellers: readonly Canceller[]
}

export interface PortOptions {
  target: TargetSettings
  settings: ProxySettings
  localTls: LocalTls | undefined
  /** One for all targets: a session of a target that a reload replaced is cancelled at the new one's port. */
  cancelRoutes: CancelRoutes
  attempts: PasswordAttempts
  /** One for all targets: for asking the workspace who the clients of gateways are. */
  workspaceTurns: Turns
  buffers: ReadBuffers
  clock: Clock
  log: Log
  sessionObserver: SessionObserver
}

/** `entrance` is asked for at each client: a reload may have changed it. Not yet listening. */
export function portListener(options: PortOptions, entrance: () => Entrance): Listener {
  const { target, settings, localTls, cancelRoutes: routes, clock } = options
  return new Listener({
    ...target.listen,
    portOf: target.reach === 'shared port' ? 'all targets' : `target ${target.name}`,
    session: {
      target: target.name,
      router: (startup) => entrance().route(startup),
      localTls,
      // With `trust` only this machine is listened to, and what a load balancer lets in is its concern.
      requireTls: localTls !== undefined && target.localAuth !== 'trust' && !settings.unsafeListen,
      loadBalancers: loadBalancers(target.proxyProtocolFrom),
      cancels: new Cancels({ targets: () => entrance().cancellers, routes, clock }),
      clock,
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
      observer: options.sessionObserver,
      buffers: options.buffers,
    },
  })
}

/** Undefined: `local-auth=trust`. */
export function clientAuthOf(options: PortOptions): ClientAuth | undefined {
  const { target, settings, attempts, clock, log } = options
  const { localPassword: password } = settings
  if (target.localAuth !== 'password' || password === undefined) return undefined
  return new ClientAuth({ password, attempts, clock, log })
}

/** Identifies the clients with `local-auth=databricks`. Undefined with other settings. */
export function peopleOf(
  options: PortOptions & { readonly signedIn: SignedIn | undefined },
  how: Pick<PeopleOptions, 'credentialsFor' | 'closing'>,
): People | undefined {
  const { target, signedIn, settings, attempts, workspaceTurns: turns, clock } = options
  if (target.login.as !== 'person' || signedIn === undefined) return undefined
  const { signInAs } = signedIn
  return new People({
    ...how,
    signInAs,
    attempts,
    turns,
    clock,
    timeoutMs: settings.connectTimeoutMs,
  })
}

function loadBalancers(networks: TargetSettings['proxyProtocolFrom']): BlockList | undefined {
  if (networks === undefined) return undefined
  const list = new BlockList()
  for (const { address, prefix } of networks) {
    list.addSubnet(address, prefix, address.includes(':') ? 'ipv6' : 'ipv4')
  }
  return list
}
