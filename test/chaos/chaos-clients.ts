/**
 * The clients of the chaos run: other people's drivers and one by hand, each of which logs in, moves
 * rows whose every byte is checked, and leaves. A wrong byte is a `WrongByte`; any other error is a
 * broken connection, which is right where something broke it.
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'

import pg from 'pg'
import postgres from 'postgres'

import type { Random } from './random.js'
import {
  type BackendMessage,
  cancelRequest,
  RawClient,
  serverSaid,
  startupPacket,
} from './raw-client.js'

export class WrongByte extends Error {}

export interface Job {
  readonly port: number
  /** Names the session at the server, as its application_name. */
  readonly name: string
  readonly random: Random
  /** Called for each query whose answer was whole and right. */
  answered: (rows: number, bytes: number) => void
}

export type ClientKind = 'pg' | 'postgres' | 'psql' | 'raw'

/** Resolves when all that was asked was answered rightly. */
export const clients: Readonly<Record<ClientKind, (job: Job) => Promise<void>>> = {
  pg: withPg,
  postgres: withPostgres,
  psql: withPsql,
  raw: withRaw,
}

const DATABASE = 'databricks_postgres'

async function withPg({ port, name, random, answered }: Job): Promise<void> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, user: 'anyone', database: DATABASE },
    application_name: name,
  })
  // One that breaks while nothing is asked says it here; who asks next hears of it too.
  client.on('error', () => {})
  try {
    await client.connect()
    for (let queries = random.between(1, 6); queries > 0; queries--) {
      const batch = rowsOf(random)
      const { rows } = await client.query<[string, string]>({
        text: batch.sql,
        values: [],
        rowMode: 'array',
      })
      check(batch, rows, answered)
      await echo(random, answered, async (text) => {
        const result = await client.query('select $1::text as said', [text])
        return result.rows[0].said
      })
    }
    await client.end()
  } finally {
    // Ends the socket, no matter what state its driver is in.
    ;(
      client as unknown as { connection: { stream: { destroy(): void } } }
    ).connection.stream.destroy()
  }
}

async function withPostgres({ port, name, random, answered }: Job): Promise<void> {
  const sql = postgres({
    ...{ host: '127.0.0.1', port, user: 'anyone', database: DATABASE, ssl: false },
    ...{ max: 1, idle_timeout: 0, connect_timeout: 30, backoff: false, onnotice: () => {} },
    connection: { application_name: name },
    fetch_types: false,
  })
  try {
    const pipelined = Array.from({ length: random.between(1, 5) }, async () => {
      const batch = rowsOf(random)
      const rows = await sql.unsafe(batch.sql).values()
      check(batch, rows as unknown as [string, string][], answered)
    })
    const outcomes = await Promise.allSettled(pipelined)
    const failed = outcomes.find((each) => each.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    await echo(random, answered, async (text) => (await sql`select ${text}::text as said`)[0]?.said)
  } finally {
    await sql.end({ timeout: 0 })
  }
}

/** COPY out of the server; or into it, and its own digest of what it got. */
async function withPsql({ port, name, random, answered }: Job): Promise<void> {
  const batch = rowsOf(random)
  if (random.chance(0.5)) {
    const output = await psql(port, name, random, `copy (${batch.sql}) to stdout delimiter '|';\n`)
    const rows = output
      .split('\n')
      .slice(0, -1)
      .map((line) => line.split('|') as [string, string])
    check(batch, rows, answered)
    return
  }
  const lines = Array.from({ length: batch.count }, (_, i) => `${i}\t${`${i}`.repeat(50)}`)
  const script = [
    'create temp table taken (i int, text text);',
    'copy taken from stdin;',
    ...lines,
    '\\.',
    "select md5(string_agg(i || E'\\t' || text, E'\\n' order by i)) from taken;",
  ].join('\n')
  const digest = createHash('md5').update(lines.join('\n')).digest('hex')
  const said = (await psql(port, name, random, `${script}\n`)).trim()
  if (said !== digest) throw new WrongByte(`of ${batch.count} rows copied in, "${said}" arrived`)
  answered(batch.count, script.length)
}

/** What it wrote to stdout. */
async function psql(port: number, name: string, random: Random, script: string): Promise<string> {
  const child = spawn('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...{ PATH: process.env.PATH, LC_ALL: 'C', PGHOST: '127.0.0.1', PGPORT: `${port}` },
      ...{ PGUSER: 'anyone', PGDATABASE: DATABASE, PGAPPNAME: name },
      ...{ PGSSLMODE: random.pick(['disable', 'prefer', 'allow']) },
    },
  })
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  child.stdin.on('error', () => {}) // it may be gone before it has read all
  child.stdin.end(script)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(complaint.trim() || `psql ended with ${code}`)
  return output
}

async function withRaw({ port, name, random, answered }: Job): Promise<void> {
  const client = await RawClient.connect(port)
  try {
    const packet = startupPacket({ user: 'anyone', database: DATABASE, application_name: name })
    const cut = random.between(1, packet.length - 1)
    client.send(packet.subarray(0, cut))
    await new Promise((resolve) => setTimeout(resolve, random.between(0, 20)))
    client.send(packet.subarray(cut))
    const greeting = await answer(client)
    if (random.chance(0.1)) await cancelled(client, port, greeting)
    for (let queries = random.between(1, 8); queries > 0; queries--) {
      const batch = rowsOf(random)
      const rows = (await answer(client.query(batch.sql)))
        .filter(({ type }) => type === 'D')
        .map(({ body }) => columns(body) as [string, string])
      check(batch, rows, answered)
    }
    if (random.chance(0.8)) client.send([0x58, 0, 0, 0, 4])
  } finally {
    client.socket.destroy()
  }
}

/** A query that is cancelled, or not: a cancel may come before its query, or not at all. */
async function cancelled(
  client: RawClient,
  port: number,
  greeting: readonly BackendMessage[],
): Promise<void> {
  const key = greeting.find(({ type }) => type === 'K')!.body
  client.query('select pg_sleep(5)')
  const canceller = await RawClient.connect(port)
  canceller.send(cancelRequest(key)).socket.destroySoon()
  const outcome = await answer(client).catch((error: Error) => error)
  if (outcome instanceof Error && !outcome.message.startsWith('57014 ')) throw outcome
}

/** Everything up to ReadyForQuery. */
async function answer(client: RawClient): Promise<BackendMessage[]> {
  const messages = await client.until('Z')
  const error = messages.find(({ type }) => type === 'E')
  if (error !== undefined) {
    const { code, message } = serverSaid(error.body)
    throw new Error(`${code} ${message}`)
  }
  if (messages.at(-1)?.type !== 'Z') throw new Error('the connection ended')
  return messages
}

function columns(row: Buffer): string[] {
  const found: string[] = []
  for (let at = 2; at < row.length; ) {
    const length = row.readInt32BE(at)
    found.push(row.toString('utf8', at + 4, at + 4 + length))
    at += 4 + length
  }
  return found
}

interface Batch {
  readonly sql: string
  readonly count: number
  readonly digest: string
  readonly bytes: number
}

/** Rows that server and client can both make: a number, and the MD5 of it and a salt, repeated. */
function rowsOf(random: Random): Batch {
  const salt = random.between(0, 1e9)
  const count = random.pick([1, 1, 10, 100, 1_000])
  const repeats = random.between(1, 40)
  const hash = createHash('sha256')
  let bytes = 0
  for (let i = 1; i <= count; i++) {
    const text = createHash('md5').update(`${i}-${salt}`).digest('hex').repeat(repeats)
    hash.update(`${i}|${text}\n`)
    bytes += text.length + String(i).length
  }
  const sql = `select i, repeat(md5(i || '-${salt}'), ${repeats}) from generate_series(1, ${count}) i`
  return { sql, count, digest: hash.digest('hex'), bytes }
}

function check(
  batch: Batch,
  rows: readonly (readonly [unknown, string])[],
  answered: Job['answered'],
): void {
  const hash = createHash('sha256')
  for (const [i, text] of rows) hash.update(`${i}|${text}\n`)
  if (rows.length !== batch.count || hash.digest('hex') !== batch.digest) {
    throw new WrongByte(`${rows.length} rows of ${batch.count} came for: ${batch.sql}`)
  }
  answered(batch.count, batch.bytes)
}

async function echo(
  random: Random,
  answered: Job['answered'],
  ask: (text: string) => Promise<string>,
): Promise<void> {
  const length = random.pick([1, 100, 10_000, 100_000])
  const text = String.fromCodePoint(random.between(0x20, 0xd7ff)).repeat(length)
  const said = await ask(text)
  if (said !== text) throw new WrongByte(`${length} characters came back as ${said?.length}`)
  answered(1, 2 * Buffer.byteLength(text))
}
