/** A pipe between a client over TCP and a server over TCP or TLS, each end in the hands of the test. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import tls, { TLSSocket } from 'node:tls'

import { issueCertificate, makeAuthority } from '../../src/core/certificates.js'
import { Pipe } from '../../src/session/pipe.js'
import type { ReadBuffers } from '../../src/session/read-buffers.js'
import { SettableClock } from '../chaos/world.js'
import { socketPair } from './sockets.js'

export interface Piped {
  readonly client: Socket
  readonly server: Socket
  readonly pipe: Pipe
  /** The pipe's own ends of the two connections. */
  readonly toClient: Socket
  readonly toServer: Socket
  /** As a crash of the server, or of what is between: a RST. */
  resetServer(): void
}

const GREETING = Buffer.from('Z\0\0\0\x05I')

export async function pipedOver(
  leg: 'TCP' | 'TLS',
  buffers: ReadBuffers | undefined,
): Promise<Piped> {
  const [client, toClient] = await socketPair()
  const [rawToServer, rawServer] = await socketPair()
  const [toServer, server] =
    leg === 'TCP' ? [rawToServer, rawServer] : await secured(rawToServer, rawServer)
  const pipe = new Pipe(toClient, toServer, {
    clock: new SettableClock(),
    idleTimeoutMs: 0,
    greeting: GREETING,
    buffers,
  })
  const resetServer = (): void => void rawServer.resetAndDestroy()
  return { client, server, pipe, toClient, toServer, resetServer }
}

const life = { now: Date.now(), days: 1 }
const authority = await makeAuthority('Test', life)
const names = { hosts: ['server.test'], addresses: [] }
const secureContext = tls.createSecureContext(await issueCertificate(authority, names, life))

async function secured(near: Socket, far: Socket): Promise<[Socket, Socket]> {
  const server = new TLSSocket(far, { isServer: true, secureContext })
  const client = tls.connect({
    socket: near,
    ca: authority.cert,
    servername: 'server.test',
  })
  for (const socket of [server, client]) socket.on('error', () => {})
  await once(client, 'secureConnect')
  return [client, server]
}
