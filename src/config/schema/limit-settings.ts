/** The rows of the table for limits and time-outs, and for how the proxy starts and stops. */

import { FREE, once, perTarget } from './setting.js'
import { duration, switched, wholeNumber } from './values.js'

export const LIMIT_SETTINGS = {
  'run-connection-test': once({
    kind: switched,
    default: 'false',
    help: 'log in to every target before listening; exit with 1 and the reason when one fails',
    dotenv: FREE,
    reload: 'at once',
  }),
  'connect-timeout': once({
    kind: duration(100),
    default: '10s',
    help: "from a client's StartupMessage to its login at the server",
    dotenv: FREE,
    reload: 'all targets',
  }),
  'wake-timeout': once({
    kind: duration(100),
    default: '60s',
    help: 'the same, for a server that is waking or on a branch younger than 5 minutes',
    dotenv: FREE,
    reload: 'all targets',
  }),
  'handshake-timeout': once({
    kind: duration(100),
    default: '10s',
    help: 'from accept until a client has said who it is, local password included',
    dotenv: FREE,
    reload: 'all targets',
  }),
  'start-timeout': perTarget({
    kind: duration(1000),
    default: '10m',
    help: 'with auto-start: how long clients are held while the instance starts',
    dotenv: FREE,
  }),
  'max-connections': perTarget({
    kind: wholeNumber('count', 1_000_000),
    default: '0',
    help: 'clients at a time; above it they get 53300; 0: no limit',
    dotenv: FREE,
  }),
  'max-connections-per-user': perTarget({
    kind: wholeNumber('count', 1_000_000),
    default: '0',
    help: 'the same of one identity, with local-auth=databricks; 0: no limit',
    dotenv: FREE,
  }),
  'unready-when-full': once({
    kind: switched,
    default: 'false',
    help: 'readiness goes red at max-connections',
    dotenv: FREE,
    reload: 'at once',
  }),
  'idle-timeout': perTarget({
    kind: duration(),
    default: '0s',
    help: 'close a session after this long with no bytes either way; 0s: never',
    dotenv: FREE,
  }),
  'drain-timeout': once({
    kind: duration(),
    default: '30s',
    help: 'how long running sessions get on SIGTERM and SIGINT',
    dotenv: FREE,
    reload: 'at once',
  }),
  'drain-delay': once({
    kind: duration(),
    default: '0s',
    help: 'go on serving for this long before the drain, with readiness already red',
    dotenv: FREE,
    reload: 'at once',
  }),
}
