/**
 * `npm run chaos -- [--seconds 60] [--seed N] [--clients 24]`: clients and faults. `npm run chaos -- --sessions
 * 2000 [--seconds 300]`: a number of sessions held while some come and go. Each prints a table and ends
 * with 1 when it found anything that must not be.
 */

import { parseArgs } from 'node:util'
import { runChaos } from './chaos-run.js'
import { hold } from './hold.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    clients: { type: 'string', default: '24' },
    sessions: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const violations =
  values.sessions === undefined
    ? await runChaos({ seconds, seed: Number(values.seed), clients: Number(values.clients) })
    : await hold({ seconds, sessions: Number(values.sessions) })
for (const violation of violations.slice(0, 50)) console.error(`VIOLATION ${violation}`)
console.log(violations.length === 0 ? 'clean' : `${violations.length} violations`)
// A driver whose connection was broken may keep this process alive; the proxy's has ended.
process.exit(violations.length === 0 ? 0 : 1)
