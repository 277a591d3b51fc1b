/**
 * From an endpoint to a verified TLS connection: its addresses in turn, SSLRequest, exactly one
 * byte of answer, TLS with SNI. Never plaintext, no matter what the server answers.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
 */

import net, { type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Endpoint } from '../endpoints/endpoints.js'
import { readExactly, StreamEnded } from '../wire/byte-reader.js'
import { sslRequest } from '../wire/frontend.js'
import type { UpstreamTls } from './tls-context.js'

export interface DialOptions {
  tls: UpstreamTls
  clock: Clock
  /** Called for each address that was dialled. */
  dialled: (address: string, succeeded: boolean) => void
  /** Called when the TCP connection is open and TLS begins. */
  connected?: () => void
  /** How long the last address may take, to the end of its TLS handshake. Default: until the signal. */
  lastPatienceMs?: number
}

export interface Upstream {
  readonly socket: TLSSocket
  readonly address: string
}

const KEEP_ALIVE_MS = 30_000
/** A dead address must not use up the time of the next one. */
export const ADDRESS_PATIENCE_MS = 3_000

/** The cause of a `dial` error: an address was given up on, which had used up its patience. */
export class NoAnswer extends Error {}

/** Errors: kind `dial` (worth another try), kind `tls` (final). Aborts with the signal's reason. */
export async function dial(
  endpoint: Endpoint,
  options: DialOptions,
  signal: AbortSignal,
): Promise<Upstream> {
  let lastError: unknown
  for (const [index, address] of endpoint.addresses.entries()) {
    const isLast = index === endpoint.addresses.length - 1
    const patienceMs = isLast ? options.lastPatienceMs : ADDRESS_PATIENCE_MS
    try {
      const socket = await dialAddress(endpoint, address, patienceMs, options, signal)
      options.dialled(address, true)
      return { socket, address }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof ProxyError && error.kind !== 'dial') throw error
      options.dialled(address, false)
      lastError = error
    }
  }
  throw lastError
}

async function dialAddress(
  endpoint: Endpoint,
  address: string,
  patienceMs: number | undefined,
  options: DialOptions,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const raw = net.connect({
    host: address,
    port: endpoint.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    allowHalfOpen: true,
  })
  raw.on('error', ignore) // the next wait hears of it
  let socket: Socket = raw
  const giveUp = (): void => void socket.destroy(new NoAnswer('timeout expired'))
  const stopTimer = patienceMs === undefined ? ignore : options.clock.after(patienceMs, giveUp)
  try {
    await event(raw, 'connect', signal)
    options.connected?.()
    await requestTls(raw, signal)
    const secured = options.tls.connect(raw, endpoint.host)
    secured.on('error', ignore)
    socket = secured
    await tlsHandshake(secured, endpoint.host, options.tls, signal)
    return secured
  } catch (error) {
    socket.destroy()
    raw.destroy()
    throw error instanceof ProxyError ? error : dialError(endpoint, address, error)
  } finally {
    stopTimer()
  }
}

/** CVE-2021-23222: bytes after the answer can only come from an attacker in between. */
async function requestTls(socket: Socket, signal: AbortSignal): Promise<void> {
  socket.write(sslRequest)
  const answer = (await readExactly(socket, 1, signal).catch(closedIsReset)).toString('latin1')
  if (answer !== 'S') {
    throw new ProxyError('tls', 'server does not support TLS, and it is never done without', {
      detail: answer === 'E' ? 'It answered SSLRequest with an error.' : undefined,
      hint: 'Is this a Lakebase host? Run "lakebase-proxy doctor" to see each step.',
    })
  }
  if (socket.readableLength > 0) {
    throw new ProxyError('tls', 'received unencrypted data after SSL response', {
      hint: 'Something between here and the server tampers with the connection.',
    })
  }
}

async function tlsHandshake(
  secured: TLSSocket,
  host: string,
  upstreamTls: UpstreamTls,
  signal: AbortSignal,
): Promise<void> {
  try {
    await event(secured, 'secureConnect', signal)
    upstreamTls.secured(secured)
  } catch (error) {
    upstreamTls.failed()
    throw certificateError(error, host) ?? error
  }
}

function ignore(): void {}

function event(
  socket: Socket,
  name: 'connect' | 'secureConnect',
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const onEvent = (): void => stop(resolve)
    const onError = (error: Error): void => stop(() => reject(error))
    const onClose = (): void =>
      stop(() => reject(new Error('server closed the connection unexpectedly')))
    const onAbort = (): void => stop(() => reject(signal.reason))
    socket.on(name, onEvent).on('error', onError).on('close', onClose).on('end', onClose)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()

    function stop(settle: () => void): void {
      socket.off(name, onEvent).off('error', onError).off('close', onClose).off('end', onClose)
      signal.removeEventListener('abort', onAbort)
      settle()
    }
  })
}

function closedIsReset(error: unknown): never {
  throw error instanceof StreamEnded
    ? new Error('server closed the connection unexpectedly')
    : error
}

// OpenSSL's and Node's codes for a certificate that failed verification. Other codes mean a broken connection.
const CERTIFICATE_ERROR =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH)/

function certificateError(error: unknown, host: string): ProxyError | undefined {
  // OpenSSL's messages are for its authors; `reason` is the part that says something.
  const { code, message, reason } = error as { code?: string; message: string; reason?: string }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new ProxyError('tls', `server certificate does not match host name "${host}"`, {
      cause: error,
      detail: message,
      hint: 'Use the name the workspace gives for the instance; --hostaddr sets the address to dial.',
    })
  }
  if (code !== undefined && CERTIFICATE_ERROR.test(code)) {
    return new ProxyError(
      'tls',
      `server certificate of "${host}" could not be verified: ${message}`,
      {
        cause: error,
        hint: 'If its authority is your own, name its PEM file with --sslrootcert.',
      },
    )
  }
  if (code?.startsWith('ERR_SSL_') || code === 'EPROTO') {
    return new ProxyError('tls', `TLS with "${host}" failed: ${reason ?? message}`, {
      cause: error,
      hint: 'Something between here and the server may tamper with the connection; "lakebase-proxy doctor" tries each step.',
    })
  }
  return undefined
}

// The words of libpq, which readers know and search for.
const REASON: Record<string, string> = {
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  ETIMEDOUT: 'Connection timed out',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  EMFILE: 'Too many open files',
  ENFILE: 'Too many open files in system',
}

/** Why an address could not be reached, in libpq's words. */
export function dialError(endpoint: Endpoint, address: string, cause: unknown): ProxyError {
  const { code, message } = cause as { code?: string; message: string }
  const outOfFiles = code === 'EMFILE' || code === 'ENFILE'
  return new ProxyError(
    'dial',
    `connection to server at "${endpoint.host}" (${address}), port ${endpoint.port} failed: ${REASON[code ?? ''] ?? message}`,
    {
      cause,
      hint: outOfFiles
        ? 'Raise the limit of open files (ulimit -n) of lakebase-proxy.'
        : 'Check the network, a VPN, or a private link to it; "lakebase-proxy doctor" tries each step.',
    },
  )
}
