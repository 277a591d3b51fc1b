/** Tells several observers, each of which may be written as if it were the only one. */

import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { SessionObserver } from '../session/session-view.js'

/** An observer has methods for what it wants to hear of. */
export function tellAll(observers: readonly Partial<SessionObserver>[]): SessionObserver {
  return {
    opened: (...facts) => each(observers, (observer) => observer.opened?.(...facts)),
    connected: (...facts) => each(observers, (observer) => observer.connected?.(...facts)),
    failed: (...facts) => each(observers, (observer) => observer.failed?.(...facts)),
    cancelled: (...facts) => each(observers, (observer) => observer.cancelled?.(...facts)),
    closed: (...facts) => each(observers, (observer) => observer.closed?.(...facts)),
  }
}

export function tellAllOfCredentials(observers: readonly CredentialObserver[]): CredentialObserver {
  return {
    refreshed: (...facts) => each(observers, (observer) => observer.refreshed(...facts)),
    refreshFailed: (...facts) => each(observers, (observer) => observer.refreshFailed(...facts)),
  }
}

function each<T>(observers: readonly T[], tell: (observer: T) => void): void {
  for (const observer of observers) tell(observer)
}
