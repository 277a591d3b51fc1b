// @ts-check
/** A card for each target: its state, where to connect and as whom, and its token's life. */

import { copyable } from './copy.js'
import { ago, atTime, fromTemplate, inBytes, inTime, partsOf, put, putValue } from './words.js'

/** @typedef {import('../status.js').TargetStatus} TargetStatus */

const TOOLS = /** @type {const} */ ([
  ['psql', 'psql'],
  ['jdbc', 'JDBC'],
  ['dbeaver', 'DBeaver'],
  ['sqlalchemy', 'SQLAlchemy'],
])

const STATES = {
  starting: 'Starting',
  ready: 'Ready',
  degraded: 'Degraded',
  unavailable: 'Unavailable',
  stopping: 'Stopping',
}

const KINDS = {
  provisioned: 'Provisioned instance',
  autoscaling: 'Autoscaling endpoint',
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
  /** @type {'psql' | 'jdbc' | 'dbeaver' | 'sqlalchemy'} */
  #tool = 'psql'

  /** @param {number} index */
  constructor(index) {
    this.root = fromTemplate('target-card')
    this.parts = partsOf(this.root)
    this.progress = /** @type {HTMLProgressElement} */ (this.root.querySelector('progress'))
    this.line = /** @type {HTMLInputElement} */ (this.root.querySelector('.line input'))
    const fieldset = /** @type {HTMLElement} */ (this.root.querySelector('fieldset'))
    for (const [tool, name] of TOOLS) fieldset.append(this.#choice(index, tool, name))
    copyable(/** @type {Element} */ (this.root.querySelector('.line')))
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
    put(part(parts.hint), target.hint ?? '')
    put(part(parts.where), whereOf(target))
    put(part(parts.role), roleOf(target))
    put(part(parts.database), target.database)
    put(part(parts.kind), `${kindOf(target)}${workspaceOf(target)}`)
    const { connected, failed, bytesUp, bytesDown } = target.totals
    const limit = target.sessionsLimit > 0 ? ` of ${target.sessionsLimit}` : ''
    const failures = failed > 0 ? `, ${failed} failed` : ''
    const warm = target.spares === undefined ? '' : `, ${target.spares.held} warm`
    const open = `${target.sessionsOpen}${limit} open${warm}`
    put(part(parts.sessions), `${open}, ${connected} so far${failures}`)
    put(part(parts.bytes), `${inBytes(bytesUp)} up, ${inBytes(bytesDown)} down`)
    putValue(this.line, target.connect[this.#tool])
    this.tick(now)
  }

  /** @param {number} now */
  tick(now) {
    if (this.#target === undefined) return
    const { method, issuedAt, expiresAt, refreshFailure } = this.#target.credential
    const { parts, progress } = this
    if (method === 'password') {
      put(part(parts.token), 'Logs in with the password of its URL, which does not expire')
      progress.hidden = true
      return
    }
    if (expiresAt === undefined) {
      put(part(parts.token), 'No token yet')
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

  /** @param {number} index @param {typeof TOOLS[number][0]} tool @param {string} name */
  #choice(index, tool, name) {
    const label = document.createElement('label')
    const input = document.createElement('input')
    input.type = 'radio'
    input.name = `tool-${index}`
    input.checked = tool === this.#tool
    input.addEventListener('change', () => {
      this.#tool = tool
      if (this.#target !== undefined) putValue(this.line, this.#target.connect[tool])
    })
    const text = document.createElement('span')
    text.textContent = name
    label.append(input, text)
    return label
  }
}

/** @param {HTMLElement | undefined} element @returns {HTMLElement} */
function part(element) {
  return /** @type {HTMLElement} */ (element)
}

/** @param {TargetStatus} target */
function whereOf({ addresses, port }) {
  const tcp = addresses.filter((address) => !address.startsWith('/'))
  const isLoopback = tcp.length > 0 && tcp.every((each) => /^(127\.0\.0\.1|\[::1\]):/.test(each))
  const sockets = addresses.filter((address) => address.startsWith('/'))
  return [...(isLoopback ? [`localhost:${port}`] : tcp), ...sockets].join(', ')
}

/** @param {TargetStatus} target */
function roleOf({ role, roleOfClient, localAuth }) {
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
function workspaceOf({ workspace }) {
  if (workspace === undefined) return ''
  const profile = workspace.profile === undefined ? '' : `, profile ${workspace.profile}`
  return ` in ${new URL(workspace.workspace).host}${profile}`
}
