// @ts-check
/** A card for each target: its state, where to connect and as whom, and its token's life. */

import { ConnectTabs } from './connect.js'
import { copyable } from './copy.js'
import {
  ago,
  atTime,
  fromTemplate,
  inBytes,
  inTime,
  part,
  partsOf,
  put,
  putValue,
} from './words.js'

/** @typedef {import('../status.js').TargetStatus} TargetStatus */

const STATES = {
  starting: 'Starting',
  ready: 'Ready',
  degraded: 'Degraded',
  stopped: 'Stopped',
  unavailable: 'Unavailable',
  stopping: 'Stopping',
}

const KINDS = {
  provisioned: 'Provisioned instance',
  autoscaling: 'Autoscaling endpoint',
  branches: 'Every branch of a project',
  host: 'Host name, not looked up yet',
  static: 'Static URL',
}

/** @type {TargetCard[]} */
const cards = []

/** @param {readonly TargetStatus[]} targets @param {number} now */
export function showTargets(targets, now) {
  const list = /** @type {HTMLElement} */ (document.getElementById('targets'))
  while (cards.length > targets.length) cards.pop()?.root.remove()
  for (const [index, target] of targets.entries()) {
    let card = cards[index]
    if (card === undefined) {
      card = new TargetCard(index)
      cards.push(card)
      list.append(card.root)
    }
    card.show(target, now)
  }
}

/** Between two messages the time goes on. @param {number} now */
export function tickTargets(now) {
  for (const card of cards) card.tick(now)
}

class TargetCard {
  /** @type {TargetStatus | undefined} */
  #target

  /** @param {number} index */
  constructor(index) {
    this.root = fromTemplate('target-card')
    this.parts = partsOf(this.root)
    this.progress = /** @type {HTMLProgressElement} */ (this.root.querySelector('progress'))
    this.start = /** @type {HTMLInputElement} */ (this.root.querySelector('.start input'))
    copyable(/** @type {Element} */ (this.root.querySelector('.start .line')))
    const connect = /** @type {Element} */ (this.root.querySelector('.connect'))
    this.connect = new ConnectTabs(connect, this.parts, index)
  }

  /** @param {TargetStatus} target @param {number} now */
  show(target, now) {
    this.#target = target
    const { parts } = this
    put(part(parts.name), target.name)
    const state = part(parts.state)
    put(state, STATES[target.state])
    state.dataset.state = target.state
    put(part(parts.words), target.state === 'ready' ? '' : target.words)
    const { startCommand } = target
    put(part(parts.hint), startCommand === undefined ? (target.hint ?? '') : 'Start it with:')
    part(parts.start).hidden = startCommand === undefined
    putValue(this.start, startCommand ?? '')
    // A good token says nothing while there is no server to use it on.
    part(parts.life).hidden = target.state === 'stopped'
    put(part(parts.where), whereOf(target))
    put(part(parts.role), roleOf(target))
    put(part(parts.database), target.database)
    put(part(parts.user), userOf(target))
    put(part(parts.kind), kindOf(target))
    put(part(parts.serves), target.serves ?? '')
    const row = /** @type {HTMLElement} */ (part(parts.serves).parentElement)
    row.hidden = target.serves === undefined || target.serves === target.name
    put(part(parts.workspace), workspaceOf(target))
    const { connected, failed, bytesUp, bytesDown } = target.totals
    const limit = target.sessionsLimit > 0 ? ` of ${target.sessionsLimit}` : ''
    const failures = failed > 0 ? `, ${failed} failed` : ''
    const warm = target.spares === undefined ? '' : `, ${target.spares.held} warm`
    const open = `${target.sessionsOpen}${limit} open${warm}`
    put(part(parts.sessions), `${open}, ${connected} so far${failures}`)
    put(part(parts.bytes), `${inBytes(bytesUp)} up, ${inBytes(bytesDown)} down`)
    this.connect.show(target)
    this.tick(now)
  }

  /** @param {number} now */
  tick(now) {
    if (this.#target === undefined) return
    const { method, issuedAt, expiresAt, refreshFailure } = this.#target.credential
    const { parts, progress } = this
    progress.hidden = method === 'password'
    if (method === 'password') {
      put(part(parts.token), 'Logs in with the password of its URL, which does not expire')
      return
    }
    if (expiresAt === undefined) {
      put(part(parts.token), 'No token yet')
      put(part(parts.left), '')
      progress.value = 0
    } else {
      const leftMs = expiresAt - now
      const lifeMs = expiresAt - (issuedAt ?? now)
      progress.value = Math.min(1, Math.max(0, leftMs / Math.max(1, lifeMs)))
      progress.dataset.life = leftMs <= 0 ? 'over' : progress.value < 0.15 ? 'short' : 'good'
      put(part(parts.token), leftMs > 0 ? 'Token good for' : 'Token expired')
      put(part(parts.left), leftMs > 0 ? inTime(leftMs) : ago(expiresAt, now))
    }
    const refreshed = issuedAt === undefined ? '' : `Refreshed ${ago(issuedAt, now)}`
    const expiry = expiresAt === undefined ? '' : `, expires at ${atTime(expiresAt)}`
    const failure =
      refreshFailure === undefined
        ? ''
        : `${refreshed === '' ? '' : '. '}Last try failed ${ago(refreshFailure.at, now)}`
    put(part(parts.refreshed), `${refreshed}${expiry}${failure}`)
  }
}

/** @param {TargetStatus} target */
function whereOf({ addresses, port }) {
  const tcp = addresses.filter((address) => !address.startsWith('/'))
  const isLoopback = tcp.length > 0 && tcp.every((each) => /^(127\.0\.0\.1|\[::1\]):/.test(each))
  const sockets = addresses.filter((address) => address.startsWith('/'))
  return [...(isLoopback ? [`localhost:${port}`] : tcp), ...sockets].join(', ')
}

/** @param {TargetStatus} target */
function userOf({ connect, userMatters }) {
  return userMatters ? connect.fields.username : 'any'
}

/** @param {TargetStatus} target */
function roleOf({ role, roleOfClient, localAuth }) {
  if (localAuth === 'databricks') return 'the Databricks identity of each client'
  const name = roleOfClient ? 'the user that the client names' : (role ?? 'not known yet')
  return localAuth === 'password' ? `${name}, after the local password` : name
}

/** @param {TargetStatus} target */
function kindOf({ kind, apiState, readOnly }) {
  return [KINDS[kind], apiState, readOnly ? 'read-only' : undefined]
    .filter((each) => each !== undefined)
    .join(', ')
}

/** Two instances of one name must not look alike. @param {TargetStatus} target */
function workspaceOf({ kind, workspace }) {
  if (workspace === undefined) return kind === 'static' ? 'none' : 'not known yet'
  const profile = workspace.profile === undefined ? '' : `, profile ${workspace.profile}`
  return `${new URL(workspace.workspace).host}${profile}`
}
