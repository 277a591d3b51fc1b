/** Local authentication with one password, apart from any proxy. */

import { silentLog } from '../../src/core/log.js'
import type { Secret } from '../../src/core/secret.js'
import { ClientAuth } from '../../src/session/client-auth.js'
import { PasswordAttempts } from '../../src/session/password-attempts.js'
import { FakeClock } from './fake-clock.js'

export function localAuth(password: Secret): ClientAuth {
  const clock = new FakeClock()
  return new ClientAuth({
    password,
    attempts: new PasswordAttempts(clock),
    clock,
    log: silentLog,
  })
}
