/**
 * Ways in which the emulated workspace and its front door can be told to misbehave, so that what
 * connects to them can be tested: each fault happens to the next few calls or connections.
 */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

import { takeBytes, untilEnd } from '../../src/emulator/byte-stream.js'
import type { FrontPhase } from '../../src/emulator/front-connection.js'
import {
  authenticationRequest,
  type Refusal,
  Refused,
  refusals,
} from '../../src/emulator/front-messages.js'

export class Faults<Place, Fault> {
  readonly #pending: { place: Place | undefined; fault: Fault; left: number }[] = []

  /** `place` undefined: the fault happens at any place. */
  add(place: Place | undefined, fault: Fault, times: number): void {
    this.#pending.push({ place, fault, left: times })
  }

  take(place: Place): Fault | undefined {
    const found = this.#pending.find(
      (each) => each.left > 0 && (each.place === undefined || each.place === place),
    )
    if (found !== undefined) found.left--
    return found?.fault
  }

  clear(): void {
    this.#pending.length = 0
  }
}

export type FrontFault =
  | { readonly at: FrontPhase; readonly how: 'reset' | 'close' | 'hang' }
  | { readonly at: 'startup' | 'password'; readonly refuse: Refusal }
  /** To SSLRequest: N, an ErrorResponse, or S with plaintext stuffed after it. */
  | { readonly at: 'ssl-request'; readonly answer: 'N' | 'E' | 'extra-bytes' }
  /** Says this instead of what it should say, and then nothing more. */
  | { readonly at: 'startup' | 'password' | 'greeting'; readonly say: Buffer }
  /** Asks an identity for something else than its token, and refuses what it answers. */
  | { readonly at: 'startup'; readonly ask: 'sasl' | 'md5' }

const INSECURE: Refusal = {
  ...{ severity: 'FATAL', sqlState: '08006' },
  message: 'Insecure connection. Please use SSL to connect.',
}

const INSTEAD: Readonly<Record<string, Buffer>> = {
  N: Buffer.from('N'),
  // Plaintext that an attacker in between adds after the answer: CVE-2021-23222.
  'extra-bytes': Buffer.from('Sstuffed bytes'),
  sasl: authenticationRequest(10),
  // AuthenticationMD5Password, with its salt.
  md5: Buffer.from('R\0\0\0\x0c\0\0\0\x05salt', 'latin1'),
}

/** Does to the connection what the fault says. Never resolves: the connection ends with it. */
export async function spoilConnection(fault: FrontFault, socket: Socket): Promise<never> {
  if ('refuse' in fault) throw new Refused(fault.refuse)
  if ('answer' in fault && fault.answer === 'E') throw new Refused(INSECURE)
  const how = 'how' in fault ? fault.how : 'hang'
  if ('say' in fault) socket.write(fault.say)
  if ('answer' in fault) socket.write(INSTEAD[fault.answer]!)
  if ('ask' in fault) {
    socket.write(INSTEAD[fault.ask]!)
    await takeBytes(socket, 1)
    throw new Refused(refusals.noPassword)
  }
  if (how === 'reset') socket.resetAndDestroy()
  if (how === 'hang') await untilEnd(socket)
  throw new Error('told to misbehave')
}

/** A way in which the API can be told to misbehave. */
export type ApiFault =
  /** Answers this instead; `body` defaults to an error in the real shape. */
  | {
      readonly status: number
      readonly errorCode?: string
      readonly message?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  | { readonly how: 'reset' | 'hang' | 'garbage' }
  /** Mints a credential that has expired already. */
  | { readonly how: 'expired' }
  /** Gives the right answer, but late. */
  | { readonly delayMs: number }

/** Answers as the fault says. `answer` gives the right answer, `expired` with such a credential. */
export async function spoilCall(
  fault: ApiFault,
  response: ServerResponse,
  { answer, expired, date }: { answer: () => void; expired: () => void; date: string },
): Promise<void> {
  if ('delayMs' in fault) {
    await delay(fault.delayMs, undefined, { ref: false })
    return answer()
  }
  if ('status' in fault) {
    const { status, errorCode = `${status}`, message = 'told to fail' } = fault
    const headers = { 'content-type': 'application/json', date, ...fault.headers }
    const body = fault.body ?? JSON.stringify({ error_code: errorCode, message })
    response.writeHead(status, headers).end(body)
    return
  }
  if (fault.how === 'expired') expired()
  if (fault.how === 'reset') response.socket?.resetAndDestroy()
  if (fault.how === 'garbage') response.writeHead(200).end('<html>Sign in</html>')
}
