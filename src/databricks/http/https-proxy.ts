/**
 * The way to the workspace through the HTTP proxy that HTTPS_PROXY names. One request opens one
 * tunnel and hears of its end: undici alone takes a proxy that closes a CONNECT for a lost
 * keep-alive connection and dials again without pause or limit, also after the request was aborted
 * (handleConnectError in undici's lib/dispatcher/client.js).
 */

import { type buildConnector, Client, type Dispatcher, EnvHttpProxyAgent } from 'undici'
import type { Clock } from '../../core/clock.js'
import { withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { NoTunnel, reasonOf } from './network-error.js'

export interface HttpsProxyOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  /** The connections to hosts that NO_PROXY exempts. */
  readonly connect: buildConnector.connector
  readonly tunnelMs: number
  /** Aborts when the connections close. */
  readonly closing: AbortSignal
}

/**
 * Reads HTTPS_PROXY and NO_PROXY as Databricks' Go SDK and CLI do: requests to a workspace are
 * HTTPS, so HTTP_PROXY and ALL_PROXY do not count. Errors: kind `config`; the address may hold a
 * password and is not repeated.
 */
export function httpsProxyAgent(options: HttpsProxyOptions): Dispatcher {
  const { env } = options
  const written = env.https_proxy || env.HTTPS_PROXY || ''
  // A bare `host:port` is spoken to over HTTP, as curl and the Databricks CLI do.
  const address = written === '' || written.includes('://') ? written : `http://${written}`
  const isSocks = /^socks/i.test(address)
  try {
    return new EnvHttpProxyAgent({
      connect: options.connect,
      // Empty rather than undefined: undici would then read process.env.
      httpProxy: '',
      // undici's own SOCKS client is experimental and prints a warning into the log.
      httpsProxy: isSocks ? address.replace(/^[^:]*/, 'http') : address,
      noProxy: env.no_proxy || env.NO_PROXY || '',
      clientFactory: (proxy, clientOptions) => {
        const open = () => new Client(proxy, clientOptions)
        return Object.assign(open(), { connect: tunnelOpener(open, proxy, isSocks, options) })
      },
    })
  } catch {
    throw new ProxyError('config', 'HTTPS_PROXY is not the address of a proxy', {
      hint: 'Write it as http://user:password@host:port; a % in a password is %25, an @ is %40.',
    })
  }
}

/**
 * A client for each tunnel, because destroying it is the one sure end of all that undici does to
 * open it. Every failure leaves as `NoTunnel`, at which undici does not dial again.
 */
function tunnelOpener(
  openClient: () => Client,
  proxy: URL,
  isSocks: boolean,
  { clock, closing, tunnelMs }: HttpsProxyOptions,
): (request: Dispatcher.ConnectOptions) => Promise<Dispatcher.ConnectData> {
  return async (request) => {
    if (isSocks) {
      throw new NoTunnel('HTTPS_PROXY names a SOCKS proxy, which is not supported', {
        kind: 'config',
        hint: 'Set HTTPS_PROXY to an HTTP proxy, or add the workspace host to NO_PROXY to connect directly.',
        temporary: false,
      })
    }
    const client = openClient()
    const reason = (): Error => new Error(`no answer within ${tunnelMs / 1000} s`)
    try {
      const reply = await withDeadline(
        { clock, ms: tunnelMs, reason, signals: [closing] },
        (signal) => client.connect({ ...request, signal }),
      )
      if (reply.statusCode === 200) return reply
      reply.socket.on('error', () => {}).destroy()
      throw tunnelRefused(proxy, reply.statusCode)
    } catch (error) {
      throw error instanceof NoTunnel ? error : tunnelLost(proxy, error)
    } finally {
      // The socket of an open tunnel is no longer the client's.
      await client.destroy()
    }
  }
}

function tunnelRefused({ host }: URL, status: number): NoTunnel {
  if (status === 407) {
    return new NoTunnel(`the proxy ${host} asks for a user name and password`, {
      detail: 'It answered CONNECT with HTTP status 407.',
      hint: 'Set HTTPS_PROXY=http://user:password@host:port; a % in a password is %25, an @ is %40.',
      temporary: false,
    })
  }
  return new NoTunnel(`the proxy ${host} refused the connection: HTTP status ${status}`, {
    hint: 'Ask its administrator to allow CONNECT to the workspace, or add the workspace host to NO_PROXY.',
    temporary: status >= 500 || status === 408 || status === 429,
  })
}

function tunnelLost({ host }: URL, cause: unknown): NoTunnel {
  return new NoTunnel(`the proxy ${host} did not open a connection: ${reasonOf(cause)}`, {
    cause,
    hint: 'Check HTTPS_PROXY and the network on the way to that proxy.',
    temporary: true,
  })
}
