/** What is known of a client from its socket and its StartupMessage, and what is demanded of them. */

import type { Socket } from 'node:net'

import { ProxyError } from '../core/errors.js'
import { isLoopback } from '../core/loopback.js'
import { plainText } from '../core/plain-text.js'
import { fromWireText, type StartupMessage } from '../wire/frontend.js'

/**
 * Over loopback or a Unix socket: no other machine lies between. Behind a load balancer on this
 * machine, `realAddress` is that of the client in front of it.
 */
export function isFromHere({ localAddress }: Socket, realAddress: string | undefined): boolean {
  return [localAddress, realAddress].every((each) => each === undefined || isLoopback(each))
}

export function tlsRequired(): ProxyError {
  return new ProxyError('identity', 'connection requires TLS', {
    hint: 'Connect with sslmode=verify-full, or sslmode=require: this lakebase-proxy is reached from beyond its machine.',
  })
}

/** A password in the clear is asked for inside TLS only, and nothing is asked before it. */
export function tlsRequiredForSecrets(): ProxyError {
  return new ProxyError('identity', 'connection requires TLS', {
    hint: 'Connect with sslmode=verify-full and the CA of this lakebase-proxy (sslrootcert): it asks for a Databricks token or secret.',
  })
}

/** PostgreSQL cuts names to 63 bytes. */
export const MAX_NAME_LENGTH = 128

/** The text that is logged and shown. */
export function textOf(startup: StartupMessage, name: string): string | undefined {
  const value = startup.parameters.get(name)
  return value === undefined ? undefined : plainText(fromWireText(value), MAX_NAME_LENGTH)
}

/** A walsender and its receiver have time-outs of their own, and may have nothing to say for long. */
export function isReplication(startup: StartupMessage): boolean {
  const value = startup.parameters.get('replication')
  return value !== undefined && !/^(false|off|no|0)?$/i.test(value)
}

export function clientName(address: string | undefined, port: number | undefined): string {
  return address === undefined ? 'unix socket' : hostAndPort(address, port)
}

export function hostAndPort(address: string, port: number | undefined): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

export function handshakeTimeout(): ProxyError {
  return new ProxyError('protocol', 'timeout expired before the client had said who it is', {
    hint: 'Raise --handshake-timeout of lakebase-proxy, if this client is slow for a reason.',
  })
}
