/** Notices that a client has left while its upstream is dialled, when its bytes are not read. */

import type { Socket } from 'node:net'

import type { LinkedAbort } from '../core/deadline.js'

export class ClientLeft extends Error {}

/**
 * Aborts when the client leaves, so that its upstream is not dialled for nothing. A client that has
 * sent bytes ahead and then half-closed has not left. The returned function stops the watch.
 */
export function abortWhenClientLeaves(client: Socket, abort: LinkedAbort): () => void {
  // A stream emits its end only when it is read; read(0) takes no byte.
  const look = (): void => void client.read(0)
  const left = (): void => abort.abort(new ClientLeft())
  client.on('readable', look).on('end', left).on('close', left)
  if (client.destroyed || client.readableEnded) left()
  else look()
  return () => void client.off('readable', look).off('end', left).off('close', left)
}
