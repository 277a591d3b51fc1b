/**
 * A number of sessions held, all of them in use now and then, while some leave and others come: no error,
 * and the proxy's memory at the end within 10% of the middle.
 */

import { startEmulator } from '../support/emulator-control.js'
import { rest } from './chaos-faults.js'
import { ProxyProcess } from './proxy-process.js'
import { Random } from './random.js'
import { RawClient } from './raw-client.js'

export interface HoldOptions {
  readonly seconds: number
  readonly sessions: number
}

const STARTUP = { user: 'anyone', database: 'databricks_postgres' }
/** How many log in at once. */
const LANES = 8
const SAMPLE_MS = 5_000
const TOLERANCE = 0.1

/** Prints its table; what it returns must not be. */
export async function hold({ seconds, sessions }: HoldOptions): Promise<readonly string[]> {
  const violations: string[] = []
  const emulator = await startEmulator({ tokenTtlMs: 60_000, maxConnections: sessions + 50 })
  const { env } = emulator
  const proxy = await ProxyProcess.start({ env, targets: ['demo-instance'], port: 0 })
  const held: RawClient[] = []
  const random = new Random(1)
  const counts = { sessions: 0, queries: 0 }
  const never = new AbortController().signal

  const logIn = async (): Promise<void> => {
    const client = await RawClient.connect(proxy.ports[0]!)
    const answer = await client.login(STARTUP)
    counts.sessions++
    if (answer === 'ready') held.push(client)
    else violations.push(`login: ${JSON.stringify(answer)}`)
  }
  const ask = async (client: RawClient): Promise<void> => {
    const last = (await client.query("select repeat('x', 1000)").until('Z')).at(-1)
    counts.queries++
    if (last?.type !== 'Z') violations.push('query: the connection ended')
  }
  /** One of them asks; then it goes on being held, or leaves and another comes. */
  const churn = async (): Promise<void> => {
    const [client] = held.splice(random.between(0, held.length - 1), 1)
    if (client === undefined) return
    await ask(client)
    if (random.chance(0.5)) {
      held.push(client)
      return
    }
    if (random.chance(0.5)) client.send([0x58, 0, 0, 0, 4])
    client.socket.destroy()
    await logIn()
  }

  const lanes = async (work: () => Promise<void>, goesOn: () => boolean): Promise<void> => {
    const lane = async (): Promise<void> => {
      while (goesOn() && violations.length < 50) await work()
    }
    await Promise.all(Array.from({ length: LANES }, lane))
  }
  const startedAt = performance.now()
  await lanes(logIn, () => counts.sessions < sessions)
  console.log(`${held.length} sessions after ${Math.round(performance.now() - startedAt)} ms`)

  const until = performance.now() + seconds * 1000
  const samples: number[] = []
  const sample = async (): Promise<void> => {
    while (performance.now() < until) {
      await rest(SAMPLE_MS, never)
      const { rssBytes, heapBytes, sessions: open, files } = await proxy.state()
      samples.push(rssBytes)
      const megabytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1).padStart(7)
      console.log(
        `${megabytes(rssBytes)} MB resident, ${megabytes(heapBytes)} MB heap and buffers, ` +
          `${open} sessions, ${files} files, ${counts.queries} queries`,
      )
    }
  }
  const pace = async (): Promise<void> => {
    await churn()
    await rest(100, never) // churn, not a benchmark
  }
  await Promise.all([sample(), lanes(pace, () => performance.now() < until)])

  const middle = mean(samples.slice(samples.length * 0.4, samples.length * 0.6))
  const end = mean(samples.slice(samples.length * 0.8))
  const growth = end / middle - 1
  console.log(
    `${counts.sessions} sessions in all; memory ${(100 * growth).toFixed(1)}% from middle to end`,
  )
  if (!(growth < TOLERANCE)) violations.push(`memory grew by ${(100 * growth).toFixed(1)}%`)
  for (const client of held) client.socket.destroy()
  const { left, exit } = await proxy.close()
  for (const bug of left.bugs) violations.push(`logged as a bug: ${bug}`)
  if (exit !== 0) violations.push(`its process ended with ${exit}`)
  await emulator.close()
  return violations
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
