/**
 * The state of one target in one word, in a sentence, and with what to type about it. It answers
 * what a person asks first: can I connect, and if not, why?
 */

import { shellWord } from './connection-lines.js'
import type { TargetNotes } from './journal.js'
import type { ObservedTarget, ProxyPhase } from './observed-proxy.js'
import { hasCredential, missingCredential } from './readiness.js'

export type TargetState = 'starting' | 'ready' | 'degraded' | 'stopped' | 'unavailable' | 'stopping'

export interface TargetStanding {
  readonly state: TargetState
  /** The state as a sentence. */
  readonly words: string
  readonly hint?: string | undefined
  /** The command that starts a stopped instance; absent where auto-start does it. */
  readonly startCommand?: string | undefined
}

export function targetStanding(
  target: ObservedTarget,
  phase: ProxyPhase,
  notes: TargetNotes,
): TargetStanding {
  if (phase === 'stopping') {
    return { state: 'stopping', words: 'Ending sessions; new ones are refused' }
  }
  if (phase === 'starting') return { state: 'starting', words: 'Starting' }
  const { trouble, refreshFailure } = notes
  const hint = (trouble ?? refreshFailure)?.hint
  const missing = missingCredential(target, notes)
  const isStopped = target.database?.state === 'stopped'
  if (missing !== undefined && !isStopped) return { state: 'unavailable', words: missing, hint }
  if (!notes.asked && !hasCredential(target)) {
    return { state: 'starting', words: 'Asking the workspace for a credential' }
  }
  const { wakingSeconds, following } = target
  if (following?.refusal !== undefined) {
    const { message, hint } = following.refusal
    return { state: 'unavailable', words: message, hint }
  }
  if (wakingSeconds !== undefined) {
    return { state: 'starting', words: `The server is waking, ${wakingSeconds} s` }
  }
  if (isStopped) return stopped(target)
  if (trouble !== undefined) {
    // A disabled endpoint, or an instance that is being deleted: no client can get in.
    const state = trouble.kind === 'stopped' ? 'unavailable' : 'degraded'
    return { state, words: trouble.message, hint }
  }
  if (target.sessions.isFull) {
    return {
      state: 'degraded',
      words: 'Full: every session of max-connections is taken',
      hint: 'Close connections that are not used, or raise --max-connections.',
    }
  }
  if (refreshFailure !== undefined) {
    const words = `The token could not be refreshed, the held one is still good: ${refreshFailure.message}`
    return { state: 'degraded', words, hint }
  }
  return { state: 'ready', words: 'Ready' }
}

function stopped({ settings, database, workspace }: ObservedTarget): TargetStanding {
  const what = database?.kind === 'autoscaling' ? 'The endpoint' : 'The instance'
  if (settings.autoStart) {
    return { state: 'stopped', words: `${what} is stopped. It starts when a client connects` }
  }
  const name = database?.name ?? settings.name
  const profile = workspace?.profile === undefined ? [] : ['--profile', workspace.profile]
  const words = ['lakebase-proxy', 'instances', 'start', name, ...profile]
  const startCommand = words.map(shellWord).join(' ')
  return {
    state: 'stopped',
    words: `${what} is stopped`,
    hint: `Start it with: ${startCommand} (or let clients start it with --auto-start).`,
    startCommand,
  }
}
