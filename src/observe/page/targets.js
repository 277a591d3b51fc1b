// @ts-check
/** A card for each target: its state, where to connect and as whom, and its token's life. */

import { addTabs, showConnect } from './connect.js'
import { arrange, fill, fromTemplate, part } from './parts.js'
import { ago, between, inBytes, timeOfDay } from './words.js'

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

/** By the index of the target. @type {Map<string, TargetCard>} */
const cards = new Map()
const list = /** @type {HTMLElement} */ (document.getElementById('targets'))

/** @param {readonly TargetStatus[]} targets @param {number} now */
export function showTargets(targets, now) {
  const make = (/** @type {string} */ key) => new TargetCard(key)
  arrange(list, cards, Object.keys(targets), make)
  for (const [index, target] of targets.entries()) cards.get(String(index))?.show(target, now)
}

class TargetCard {
  /** @type {TargetStatus | undefined} */
  #target

  /** @param {string} key */
  constructor(key) {
    const { root, parts } = fromTemplate('target-card')
    this.root = root
    this.parts = parts
    this.progress = /** @type {HTMLProgressElement} */ (root.querySelector('progress'))
    addTabs(/** @type {HTMLElement} */ (root.querySelector('fieldset')), key, () => {
      if (this.#target !== undefined) showConnect(root, parts, this.#target)
    })
  }

  /** @param {TargetStatus} target @param {number} now */
  show(target, now) {
    this.#target = target
    const { root, parts } = this
    const { name, state, words, hint, startCommand, database, serves } = target
    part(parts, 'state').dataset.state = state
    part(parts, 'start').hidden = startCommand === undefined
    // A good token says nothing while there is no server to use it on.
    part(parts, 'life').hidden = state === 'stopped'
    part(parts, 'serves-row').hidden = serves === undefined || serves === name
    fill(parts, {
      name,
      state: STATES[state],
      words: state === 'ready' ? '' : words,
      hint: startCommand === undefined ? (hint ?? '') : 'Start it with:',
      'start-command': startCommand ?? '',
      where: whereOf(target),
      user: userOf(target),
      database,
      role: roleOf(target),
      kind: kindOf(target),
      // Of a long path the part that the name does not say.
      serves: (serves ?? '').replace(`${name}/`, ''),
      workspace: workspaceOf(target),
      sessions: sessionsOf(target),
      bytes: `${inBytes(target.totals.bytesUp)} up, ${inBytes(target.totals.bytesDown)} down`,
    })
    this.#showToken(target.credential, now)
    showConnect(root, parts, target)
  }

  /** @param {TargetStatus['credential']} credential @param {number} now */
  #showToken({ method, issuedAt, expiresAt, refreshFailure }, now) {
    const { parts, progress } = this
    progress.hidden = method === 'password'
    if (method === 'password') {
      fill(parts, { token: 'Logs in with the password of its URL, which does not expire' })
      return
    }
    const leftMs = (expiresAt ?? now) - now
    const lifeMs = (expiresAt ?? now) - (issuedAt ?? now)
    progress.value = Math.min(1, Math.max(0, leftMs / Math.max(1, lifeMs)))
    const refreshed = issuedAt === undefined ? '' : `Refreshed ${ago(issuedAt, now)}`
    const failure = refreshFailure && `Last try failed ${ago(refreshFailure.at, now)}`
    if (expiresAt === undefined) {
      fill(parts, { token: 'No token yet', left: '' })
    } else {
      progress.dataset.life = progress.value < 0.15 ? 'short' : 'good'
      const isGood = leftMs > 0
      fill(parts, {
        token: isGood ? 'Token good for' : 'Token expired',
        left: isGood ? between(now, expiresAt) : ago(expiresAt, now),
      })
    }
    const expiry = expiresAt === undefined ? '' : `, expires at ${timeOfDay(expiresAt)}`
    fill(parts, { refreshed: [`${refreshed}${expiry}`, failure].filter(Boolean).join('. ') })
  }
}

/** @param {TargetStatus} target */
function sessionsOf({ totals, sessionsOpen, sessionsLimit, spares }) {
  const limit = sessionsLimit > 0 ? ` of ${sessionsLimit}` : ''
  const warm = spares === undefined ? '' : `, ${spares.held} warm`
  const failures = totals.failed > 0 ? `, ${totals.failed} failed` : ''
  return `${sessionsOpen}${limit} open${warm}, ${totals.connected} so far${failures}`
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
