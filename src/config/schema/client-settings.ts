/** The rows of the table for the side of the clients: where they connect, and what they must show. */

import { FREE, LOOPBACK_ONLY, once, only, PROTECTION, perTarget } from './setting.js'
import { choice, ipAddresses, networks, portNumber, shortName, switched, text } from './values.js'

export const CLIENT_SETTINGS = {
  address: perTarget({
    kind: ipAddresses,
    default: 'localhost',
    help: 'addresses to listen at; localhost is 127.0.0.1 and ::1',
    dotenv: LOOPBACK_ONLY,
    into: 'listen',
  }),
  port: perTarget({
    kind: portNumber(),
    default: '5432',
    help: 'port to listen at, +1 for each further target; 0 picks a free one and prints it',
    dotenv: FREE,
    into: 'listen',
  }),
  name: perTarget({
    kind: shortName,
    help: 'short name of the target: for route, logs, metrics and the status page',
    dotenv: FREE,
    into: 'name',
  }),
  route: once({
    kind: choice('how', 'off', 'on', 'required'),
    default: 'off',
    help: "off: a port for each target; on: the first target's port serves all, chosen by the user name; required: each client must choose",
    dotenv: FREE,
    reload: 'target',
  }),
  'unix-socket': perTarget({
    kind: text('folder', true),
    help: 'a folder: also listen at .s.PGSQL.<port> in it, for this user only',
    dotenv: FREE,
    into: 'listen',
  }),
  'local-auth': perTarget({
    kind: choice('how', 'trust', 'password', 'databricks'),
    default: 'trust',
    help: 'trust: clients show nothing; password: they show one (SCRAM-SHA-256); databricks: each is its own identity',
    dotenv: only('password'),
  }),
  'local-password-file': once({
    kind: text('file', true),
    help: 'file with passwords, one a line, read again on change; else LAKEBASE_PROXY_LOCAL_PASSWORD',
    dotenv: PROTECTION,
    into: 'localPassword',
    reload: 'all targets',
  }),
  'local-tls': once({
    kind: choice('how', 'off', 'auto'),
    default: 'off',
    help: 'off, or auto: offer clients TLS with a certificate of our own, whose CA is printed',
    dotenv: only('auto'),
    into: 'localTls',
    reload: 'all targets',
  }),
  'local-tls-cert': once({
    kind: text('file', true),
    help: 'offer clients TLS with this certificate (PEM), read again on change',
    dotenv: PROTECTION,
    into: 'localTls',
    reload: 'all targets',
  }),
  'local-tls-key': once({
    kind: text('file', true),
    help: 'key of that certificate (PEM)',
    dotenv: PROTECTION,
    into: 'localTls',
    reload: 'all targets',
  }),
  'proxy-protocol': perTarget({
    kind: choice('how', 'off', 'on'),
    default: 'off',
    help: 'on: load balancers say who the client is, by the PROXY protocol (version 1 or 2)',
    dotenv: PROTECTION,
    into: 'proxyProtocolFrom',
  }),
  'proxy-protocol-from': once({
    kind: networks,
    default: '127.0.0.0/8,::1/128',
    help: 'addresses or networks of these load balancers: they must send it, all others must not',
    dotenv: PROTECTION,
    into: 'proxyProtocolFrom',
    reload: 'target',
  }),
  'unsafe-listen': once({
    kind: switched,
    default: 'false',
    help: 'listen beyond this machine without local-tls and a local-auth that asks for a password',
    dotenv: PROTECTION,
    reload: 'all targets',
  }),
}
