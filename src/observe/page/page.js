// @ts-check
/** The status page: hears the proxy's events, hands them to the parts that show them, and says when they stop. */

import { addSample, showHistory, tickCharts } from './charts.js'
import { showFailures, tickFailures } from './failures.js'
import { showSessions, tickSessions } from './sessions.js'
import { showTargets, tickTargets } from './targets.js'
import { inBytes, inTime, partsOf, put } from './words.js'

/** @typedef {import('../status.js').ProxyStatus & { version: string, memoryBytes: number }} Status */

/** @type {Status | undefined} */
let status
/** The proxy's clock less this browser's, in ms: the times shown are the proxy's. */
let offsetMs = 0
/** By this browser's clock; a state comes every second. */
let heardAt = Date.now()
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
  status = next
  heardAt = Date.now()
  offsetMs = next.now - Date.now()
  lost.hidden = true
  document.body.classList.remove('is-old')
  sayOverall(next)
  put(/** @type {HTMLElement} */ (facts.version), next.version)
  put(/** @type {HTMLElement} */ (facts.memory), inBytes(next.memoryBytes))
  showTargets(next.targets, next.now)
  const line = next.targets[0]?.connect.psql ?? ''
  showSessions(next.sessions, next.sessionsOmitted, line, next.now)
  showFailures(next.errors, next.now)
  tick()
}

/** The connection is lost, or it is there and carries nothing: a stopped process, a dead network. */
function showLost() {
  put(lost, 'lakebase-proxy does not answer. The page shows its last state; trying again.')
  lost.hidden = false
  document.body.classList.add('is-old')
  say('Not answering', 'unavailable')
}

function tick() {
  if (status === undefined) return
  const now = Date.now() + offsetMs
  tickCharts(now)
  if (Date.now() - heardAt > SILENCE_MS) showLost()
  // Nothing below is known any more.
  if (document.body.classList.contains('is-old')) return
  put(/** @type {HTMLElement} */ (facts.uptime), inTime(now - status.startedAt))
  tickTargets(now)
  tickSessions(now)
  tickFailures(now)
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
