/**
 * What is kept of a TLS session to resume it. OpenSSL writes the server's certificate into the session,
 * and `tls.connect` decodes it twice for each connection: an eighth of a resumed connection's CPU, for a
 * certificate that a resumed handshake does not use. What vouches for the server is that it can decrypt the ticket.
 */

/**
 * The session, as `TLSSocket` gives it in 'session', without the certificate. A session of TLS 1.2, and
 * bytes of another form, are returned as they are: without a certificate Node calls TLS 1.2 unverified.
 */
export function withoutCertificate(session: Buffer): Buffer {
  const whole = element(session, 0)
  if (whole?.tag !== SEQUENCE || whole.end !== session.length) return session
  const kept: Buffer[] = []
  for (let at = whole.start; at < whole.end; ) {
    const field = element(session, at)
    if (field === undefined || field.end > whole.end) return session
    if (field.tag !== PEER_CERTIFICATE) kept.push(session.subarray(at, field.end))
    at = field.end
  }
  const contents = Buffer.concat(kept)
  const isTls13 = kept[1]?.equals(TLS_1_3) ?? false
  return isTls13 && contents.length <= 0xffff ? sequence(contents) : session
}

// The fields of SSL_SESSION_ASN1 in OpenSSL's ssl/ssl_asn1.c, which d2i_SSL_SESSION reads:
// https://docs.openssl.org/3.0/man3/d2i_SSL_SESSION/
const SEQUENCE = 0x30
const PEER_CERTIFICATE = 0xa3
const TLS_1_3 = Buffer.from([0x02, 0x02, 0x03, 0x04])

/** The ASN.1 element at `at`: where its contents begin and end. Undefined where its length is cut off. */
function element(
  der: Buffer,
  at: number,
): { readonly tag: number; readonly start: number; readonly end: number } | undefined {
  const [tag, first] = der.subarray(at, at + 2)
  if (tag === undefined || first === undefined) return undefined
  if (first < 0x80) return { tag, start: at + 2, end: at + 2 + first }
  const lengthBytes = first & 0x7f
  const start = at + 2 + lengthBytes
  if (lengthBytes === 0 || lengthBytes > 3 || start > der.length) return undefined
  return { tag, start, end: start + der.readUIntBE(at + 2, lengthBytes) }
}

function sequence(contents: Buffer): Buffer {
  const head = Buffer.from([SEQUENCE, 0x82, contents.length >> 8, contents.length & 0xff])
  return Buffer.concat([head, contents])
}
