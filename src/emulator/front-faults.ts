/**
 * Ways in which the front door can be told to misbehave, so that its clients can be tested: at a
 * phase it resets, closes, hangs or refuses; or it breaks a rule of the protocol.
 */

import type { Socket } from 'node:net'

import { untilEnd } from './byte-stream.js'
import type { Faults } from './faults.js'
import { type Refusal, Refused } from './front-messages.js'

/**
 * `accept`: nothing read yet. `ssl-request`: read, not answered. `tls`: answered S, no handshake
 * yet. `startup`: StartupMessage read. `password`: password read. `greeting`: AuthenticationOk sent,
 * and nothing of what follows.
 */
export type FrontPhase = 'accept' | 'ssl-request' | 'tls' | 'startup' | 'password' | 'greeting'

export type FrontFault =
  | { readonly at: FrontPhase; readonly how: 'reset' | 'close' | 'hang' }
  | { readonly at: 'startup' | 'password'; readonly refuse: Refusal }
  /** To SSLRequest: N, an ErrorResponse, or S with plaintext stuffed after it. */
  | { readonly at: 'ssl-request'; readonly answer: 'N' | 'E' | 'extra-bytes' }
  /** Says this instead of what it should say, and then nothing more. */
  | { readonly at: 'startup' | 'password' | 'greeting'; readonly say: Buffer }
  /** Asks an identity for something else than its token. */
  | { readonly at: 'startup'; readonly ask: 'sasl' | 'md5' }

export type FrontFaults = Faults<FrontPhase, FrontFault>

/** Behaves as told at this phase, and returns a fault that the caller itself must act out. */
export async function actOutFault(
  phase: FrontPhase,
  socket: Socket,
  { faults }: { readonly faults: FrontFaults },
): Promise<FrontFault | undefined> {
  const fault = faults.take(phase)
  if (fault === undefined) return undefined
  if ('refuse' in fault) throw new Refused(fault.refuse)
  if ('say' in fault) socket.write(fault.say)
  else if (!('how' in fault)) return fault
  if ('how' in fault && fault.how === 'reset') socket.resetAndDestroy()
  if ('say' in fault || fault.how === 'hang') await untilEnd(socket)
  throw new Error('told to misbehave')
}
