/**
 * Which requests the admin interface answers: those of this machine and of the network it was opened
 * to, and none that a page of another site makes in a browser. Such a page can send a request here
 * (Origin and Sec-Fetch-Site show it), or let its own name resolve to this machine (DNS rebinding:
 * the Host shows it, and an IP address cannot be rebound).
 */

import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

export interface Refusal {
  readonly status: 403 | 413
  readonly message: string
}

// Nothing here reads a body; `curl -d ''` and the like may send a small one.
const MAX_BODY_BYTES = 1_024

/** Undefined when the request may pass. `adminHost` is the setting: a further Host name. */
export function refusalOf(
  request: IncomingMessage,
  adminHost: string | undefined,
): Refusal | undefined {
  const { host, origin } = request.headers
  const length = request.headers['content-length']
  if (!isOurName(host, adminHost)) {
    const message = 'this Host is not served: use localhost, an address, or set --admin-host'
    return { status: 403, message }
  }
  if (origin !== undefined && !isSameOrigin(origin, host)) {
    return { status: 403, message: 'requests from other origins are not served' }
  }
  if (isFromOtherSite(request)) {
    return { status: 403, message: 'requests from other sites are not served' }
  }
  const isLarge = length !== undefined && !(Number(length) <= MAX_BODY_BYTES)
  if (isLarge || request.headers['transfer-encoding'] !== undefined) {
    return { status: 413, message: 'no request body is expected here' }
  }
  return undefined
}

/**
 * Browsers send Sec-Fetch-Site with every request, also with those for images, which have no
 * Origin. A link on another site may still open the status page itself.
 * https://www.w3.org/TR/fetch-metadata/
 */
function isFromOtherSite({ headers, method, url }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return false
  const isLink =
    headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  return !(isLink && method === 'GET' && url === '/')
}

export function isFromLoopback({ socket }: IncomingMessage): boolean {
  const address = socket.remoteAddress?.replace(/^::ffff:/, '')
  return address === '::1' || address?.startsWith('127.') === true
}

/** A request without a Host comes from no browser: some load balancers check with HTTP/1.0. */
function isOurName(host: string | undefined, adminHost: string | undefined): boolean {
  if (host === undefined) return true
  const name = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(host.toLowerCase())
  const literal = name?.[1]
  if (literal !== undefined) return isIP(literal) === 6
  const plain = name?.[2]
  if (plain === undefined) return false
  return plain === 'localhost' || plain === adminHost?.toLowerCase() || isIP(plain) === 4
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}
