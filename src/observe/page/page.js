// @ts-check
/** The status page: hears the proxy's events, hands them to the parts that show them, and says when they stop. */

import { addSample, showHistory, tickCharts } from './charts.js'
import './copy.js'
import { showFailures } from './failures.js'
import { fill, partsOf, put } from './parts.js'
import { showSessions } from './sessions.js'
import { showTargets } from './targets.js'
import { between, inBytes } from './words.js'

/** @typedef {import('../status.js').ProxyStatus & { version: string, memoryBytes: number }} Status */

/** The proxy's clock less this browser's, in ms: the times shown are the proxy's. */
let offsetMs = 0
/** By this browser's clock; a state comes every second. @type {number | undefined} */
let heardAt
const SILENCE_MS = 5_000

const overall = element('overall')
const lost = element('lost')
const facts = partsOf(element('process'))

const events = new EventSource('events')
events.addEventListener('history', ({ data }) => showHistory(JSON.parse(data)))
events.addEventListener('sample', ({ data }) => addSample(JSON.parse(data)))
events.addEventListener('status', ({ data }) => show(JSON.parse(data)))
events.addEventListener('error', () => {
  showLost()
  // A proxy that is gone refuses the connection, and then browsers do not try again by themselves.
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5_000)
})

setInterval(tick, 1_000)

/** @param {Status} next */
function show(next) {
  const { now, version, memoryBytes, startedAt, targets, errors } = next
  heardAt = Date.now()
  offsetMs = now - heardAt
  lost.hidden = true
  document.body.className = ''
  sayOverall(next)
  fill(facts, { version, memory: inBytes(memoryBytes), uptime: between(startedAt, now) })
  showTargets(targets, now)
  showSessions(next.sessions, next.sessionsOmitted, targets[0]?.connect.psql ?? '', now)
  showFailures(errors, now)
  tickCharts(now)
}

/** The connection is lost, or it is there and carries nothing: a stopped process, a dead network. */
function showLost() {
  const shown = heardAt === undefined ? '' : 'The page shows its last state; '
  put(lost, `lakebase-proxy does not answer. ${shown}${shown === '' ? 'T' : 't'}rying again.`)
  lost.hidden = false
  if (heardAt !== undefined) document.body.className = 'is-old'
  say('Not answering', 'unavailable')
}

function tick() {
  if (heardAt === undefined) return
  tickCharts(Date.now() + offsetMs)
  if (Date.now() - heardAt > SILENCE_MS) showLost()
}

/** @param {Status} next */
function sayOverall({ phase, ready, targets }) {
  if (phase !== 'running') {
    say(phase === 'starting' ? 'Starting' : 'Stopping', phase)
    return
  }
  const good = targets.filter(({ state }) => state === 'ready').length
  const [only] = targets
  if (good === targets.length) say('Ready', 'ready')
  else if (targets.length === 1 && only?.state === 'stopped') say('Stopped', 'stopped')
  else if (targets.length === 1)
    say(ready ? 'Degraded' : 'Not ready', ready ? 'degraded' : 'unavailable')
  else say(`${good} of ${targets.length} targets ready`, ready ? 'degraded' : 'unavailable')
}

/** @param {string} words @param {string} state */
function say(words, state) {
  put(overall, words)
  overall.dataset.state = state
  document.title = `${words} · lakebase-proxy`
}

/** @param {string} id */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id))
}
