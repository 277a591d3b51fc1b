/** The rows of the table for the process itself: its files, its admin interface and its log. */

import { FILE, FREE, LOOPBACK_ONLY, once, PROTECTION } from './setting.js'
import { choice, ipAddress, portNumber, switched, targetTexts, text } from './values.js'

export const PROCESS_SETTINGS = {
  config: once({
    kind: text('file', true),
    help: 'YAML file of settings',
    dotenv: FILE,
    into: 'sources',
    reload: 'at once',
  }),
  'env-file': once({
    kind: text('file', true),
    help: 'file of variables; else .env of the working folder',
    dotenv: FILE,
    into: 'sources',
    reload: 'at once',
  }),
  'admin-address': once({
    kind: ipAddress,
    default: '127.0.0.1',
    help: 'address of the status page and metrics',
    dotenv: LOOPBACK_ONLY,
    into: 'admin',
    reload: 'restart',
  }),
  'admin-port': once({
    kind: portNumber(),
    default: '9090',
    help: 'their port; 0 picks a free one; the default moves to a free one when taken',
    dotenv: FREE,
    into: 'admin',
    reload: 'restart',
  }),
  'admin-socket': once({
    kind: text('path', true),
    help: 'a Unix socket in place of that address and port, for this user only',
    dotenv: FREE,
    into: 'admin',
    reload: 'restart',
  }),
  'admin-host': once({
    kind: text('name'),
    help: 'a further Host name to accept there',
    dotenv: PROTECTION,
    into: 'admin',
    reload: 'restart',
  }),
  'no-admin': once({
    kind: switched,
    default: 'false',
    help: 'no admin port',
    dotenv: FREE,
    into: 'admin',
    reload: 'restart',
  }),
  'log-level': once({
    kind: choice('level', 'trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    help: 'trace, debug, info, warn, error, fatal or silent; the log goes to stderr',
    dotenv: FREE,
    reload: 'restart',
  }),
  'log-format': once({
    kind: choice('form', 'pretty', 'json'),
    help: 'pretty or json; else pretty on a terminal and json elsewhere',
    dotenv: FREE,
    into: 'logFormat',
    reload: 'restart',
  }),
  quiet: once({
    kind: switched,
    default: 'false',
    help: 'no banner, and no line for each session',
    dotenv: FREE,
    reload: 'restart',
  }),
  targets: once({
    kind: targetTexts,
    help: 'the targets, where the command line names none',
    dotenv: FREE,
    into: 'targets',
    reload: 'at once',
  }),
}
