/** When a session counts as answered: by the messages both ways, wherever their bytes are cut. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'

import fc from 'fast-check'

import { Conversation } from '../src/session/conversation.js'
import { errorResponse } from '../src/wire/backend.js'
import { message } from './chaos/raw-client.js'
import { emulatorForTests } from './support/emulator.js'
import { proxyBefore } from './support/proxy.js'
import { RawClient, readyForQuery } from './support/raw-client.js'

const emulator = await emulatorForTests()

type Side = 'client' | 'server'
type Said = readonly [Side, Buffer]

/** `>` says what the client sends, `<` what the server does: a letter each, `Z` outside a transaction. */
function script(text: string): Said[] {
  const said: Said[] = []
  for (const word of text.split(' ')) {
    const side = word.startsWith('>') ? 'client' : 'server'
    for (const letter of word.slice(1)) said.push([side, sample(side, letter)])
  }
  return said
}

function sample(side: Side, letter: string): Buffer {
  if (side === 'server' && 'ZTE'.includes(letter)) {
    if (letter === 'Z') return readyForQuery
    if (letter === 'T') return message('Z', 'T')
    return errorResponse({ sqlState: '22000', message: 'no' })
  }
  return message(letter, 'ScHX'.includes(letter) && side === 'client' ? '' : 'some body')
}

function say(conversation: Conversation, [side, bytes]: Said): void {
  if (side === 'client') conversation.sawClient(bytes, bytes.length)
  else conversation.sawServer(bytes, bytes.length)
}

function after(text: string): Conversation {
  const conversation = new Conversation(readyForQuery)
  for (const said of script(text)) say(conversation, said)
  return conversation
}

const IDLE = [
  '>Q <DDCZ',
  '>Q <EZ',
  '>PBDES <12DCZ',
  '>PBES >PBES <12CZ12CZ',
  '>PBEPBES <12EZ',
  '>PBEH <12C >S <Z',
  '>F <VZ',
  '>S <Z',
  '>Q <T >Q <CZ',
  '<ANS',
  '>Q <CZ <ANS',
  // COPY, by the simple protocol
  '>Q <G >dddc <CZ',
  '>Q <G >dd <EZ >ddc',
  '>Q <G >ddf <EZ',
  '>Q <G >dc <C <G >dc <CZ',
  '>Qddc <GCZ',
  '>Q <Hddc <CZ',
  // by the extended one: with Flush, all at once, and as libpq does, with a Sync before the data
  '>PBEH <12G >ddc >S <CZ',
  '>PBEddcS <12GCZ',
  '>PBES <12G >ddcS <CZ',
  '>PBES <12G >ddc <C >S <Z',
  '>PBES >PBES <12CZ <12G >dcS <CZ',
  '>PBES <12G >dcSPBES <CZ12CZ',
  '>PBEPBEdcS <12C <12GCZ',
  '>QPBEdc <CZ >S <12GCZ',
  '>QPBEdc <C >S <Z <12GCZ',
  '>Q <W >ddc <ddcCZ',
]

const BUSY = [
  '>Q',
  '>Q <DDC',
  '>QQ <CZ',
  '>PBES >PBES <12CZ',
  '>PBEH <12C',
  '>P',
  '>PS <1Z >B',
  '>Q <T',
  '>Q <G',
  '>Q <G >ddc',
  '>PBES <12G',
  '>PBES <12G >ddc <C',
  '>PBES <12G >ddcS <C',
  '>PBEPBEdcS <12C <12G <C',
  '>PBEddcSPBEdcS <12GC <Z',
  '>Q <W',
  '>X',
  '<E',
  '<D',
  '<Z',
  '>Q <EZ <E',
  // Where the count is not certain, it stays too high.
  '>PBES <12G >d <E >cS <Z',
  '>PBEQ <E >S <Z',
  '>PBESdcS <12GCZ',
]

test('an idle session is one whose client has got every ReadyForQuery it has asked for', () => {
  assert.ok(new Conversation(readyForQuery).isIdle)
  for (const text of IDLE) assert.ok(after(text).isIdle, text)
  for (const text of BUSY) assert.ok(!after(text).isIdle, text)
  assert.ok(after('>Q <T').isAnswered, 'answered, in a transaction')
})

test('after bytes that are not messages a conversation is never idle again', () => {
  for (const [side, bytes] of [
    ['client', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['client', Buffer.from('P\0\0\0\x03')],
    ['client', Buffer.from('Q\xff\xff\xff\xff', 'latin1')],
    ['client', message('S', 'a body')],
    ['server', Buffer.from('!\0\0\0\x04')],
    ['server', message('Z', 'X')],
    ['server', message('Z', 'II')],
  ] as const) {
    const conversation = new Conversation(readyForQuery)
    say(conversation, [side, bytes])
    for (const said of script('>Q <CZ >Q <CZ')) say(conversation, said)
    assert.ok(!conversation.isIdle, `${side}: ${bytes.toString('latin1')}`)
  }
})

test('an answer is due unless the server waits for the client', () => {
  for (const text of ['>Q', '>PBES', '>PBEH <12', '>Q <G >ddc', '>Q <W >c', '>QX']) {
    assert.ok(after(text).isAnswerDue, text)
  }
  for (const text of ['>Q <CZ', '>Q <T', '>Q <G', '>PBES <12G', '>Q <G >dd', '>Q <W', '>X']) {
    assert.ok(!after(text).isAnswerDue, text)
  }
  const half = new Conversation(readyForQuery)
  say(half, ['client', message('Q', 'select 1').subarray(0, 8)])
  assert.ok(!half.isAnswerDue, 'half a message gets no answer')
})

test('the FATAL error that a server ends with is known, and any other is not', () => {
  const fatal = errorResponse({ sqlState: '57P01', message: 'm'.repeat(1_000) })
  const conversation = after('>Q <D')
  for (const byte of fatal) {
    assert.equal(conversation.fatalSqlState, undefined)
    say(conversation, ['server', Buffer.from([byte])])
  }
  assert.equal(conversation.fatalSqlState, '57P01')
  say(conversation, ['server', readyForQuery])
  assert.equal(conversation.fatalSqlState, undefined)
  const error = after('>Q')
  say(error, ['server', message('E', 'SERROR\0VERROR\0C57P01\0Mno\0\0')])
  assert.equal(error.fatalSqlState, undefined)
})

const said = fc.oneof(
  fc.record({
    side: fc.constant('client' as const),
    type: fc.constantFrom(...'QFSPBEDCcfdHX!'),
    body: fc.uint8Array({ maxLength: 100 }),
  }),
  fc.record({
    side: fc.constant('server' as const),
    type: fc.constantFrom(...'ZZZZEGWCDdHNAST!'),
    body: fc.oneof(
      fc.constantFrom(Buffer.from('I'), Buffer.from('T')),
      fc.uint8Array({ maxLength: 100 }),
    ),
  }),
)

test('any messages, cut anywhere, give the same state as uncut', () => {
  fc.assert(
    fc.property(
      fc.array(said, { maxLength: 40 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 12 })),
      (messages, cuts) => {
        const whole = new Conversation(readyForQuery)
        const cut = new Conversation(readyForQuery)
        for (const { side, type, body } of messages) {
          const isEmpty = side === 'client' && 'ScHX'.includes(type)
          const bytes = message(type, isEmpty ? '' : Buffer.from(body))
          say(whole, [side, bytes])
          for (let at = 0; at < bytes.length; ) {
            const size = cuts.next().value as number
            // In one buffer for all reads: what is after the piece is of no meaning.
            const read = Buffer.alloc(64, 'Z\0\0\0\x05I')
            const length = bytes.copy(read, 0, at, at + size)
            if (side === 'client') cut.sawClient(read, length)
            else cut.sawServer(read, length)
            at += length
          }
          assert.deepEqual(stateOf(cut), stateOf(whole))
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('any messages that come together give the same state as one by one', () => {
  fc.assert(
    fc.property(fc.array(said, { maxLength: 40 }), (messages) => {
      const single = new Conversation(readyForQuery)
      const together = new Conversation(readyForQuery)
      let pending: Said | undefined
      for (const { side, type, body } of messages) {
        const bytes = message(type, side === 'client' && type === 'S' ? '' : Buffer.from(body))
        say(single, [side, bytes])
        if (pending?.[0] === side) pending = [side, Buffer.concat([pending[1], bytes])]
        else {
          if (pending !== undefined) say(together, pending)
          pending = [side, bytes]
        }
      }
      if (pending !== undefined) say(together, pending)
      assert.deepEqual(stateOf(together), stateOf(single))
    }),
    { numRuns: 2_000 },
  )
})

function stateOf(conversation: Conversation): unknown {
  const { isIdle, isAnswered, isAnswerDue, fatalSqlState } = conversation
  return { isIdle, isAnswered, isAnswerDue, fatalSqlState }
}

const EMPTY = Buffer.alloc(0)
const query = (sql: string): Buffer => message('Q', `${sql}\0`)
const extended = (sql: string): Buffer =>
  Buffer.concat([
    message('P', `\0${sql}\0\0\0`),
    message('B', Buffer.alloc(8)),
    message('E', Buffer.alloc(5)),
  ])
const [sync, flush, copyDone] = [message('S', EMPTY), message('H', EMPTY), message('c', EMPTY)]
const copyFail = message('f', 'no\0')
const data = (text: string): Buffer => message('d', text)
const COPY = 'copy conversed from stdin'
const functionCall = Buffer.from('000004e4000000000000', 'hex') // pg_backend_pid's kind: no arguments

/** What clients do, a write each; between two writes the server has time to answer. */
const PROGRAMS: readonly (readonly Buffer[])[] = [
  [query('select generate_series(1, 1000)')],
  [query('select 1; select 2; select 1/0; select 3')],
  [query('')],
  [extended('select 1'), sync],
  [extended('select 1/0'), extended('select 2'), sync],
  [extended('select 1'), flush, extended('select 2'), flush, sync],
  [Buffer.concat([extended('select 1/0'), sync, extended('select 1'), sync, sync])],
  [Buffer.concat([query('select 1'), query('select 1/0'), query('select 2')])],
  [query('begin'), query('select 1/0'), query('select 1'), query('rollback')],
  [Buffer.concat([query('begin'), extended('select 1'), sync, query('commit')])],
  [query(COPY), data('1\n2\n'), copyDone],
  [query(COPY), data('1\n'), copyFail],
  [query(COPY), data('x\n'), data('2\n'), copyDone],
  [Buffer.concat([query(COPY), data('1\n'), copyDone])],
  [query(`${COPY}; ${COPY}`), data('1\n'), copyDone, data('2\n'), copyDone],
  [Buffer.concat([query(`${COPY}; ${COPY}`), data('1\n'), copyDone, data('2\n'), copyDone])],
  [extended(COPY), flush, data('1\n'), copyDone, sync],
  [extended(COPY), flush, data('x\n'), data('1\n'), copyDone, sync],
  [Buffer.concat([extended('select 1'), extended(COPY), data('1\n'), copyDone, sync])],
  [query('copy (select generate_series(1, 1000)) to stdout')],
  [query('listen conversed'), query('notify conversed')],
  [query('set application_name = conversed'), query("do $$ begin raise notice 'n'; end $$")],
  [message('F', functionCall)],
]

/** As libpq does: it waits for CopyInResponse before it sends data. */
const PATIENT_PROGRAMS: typeof PROGRAMS = [
  [Buffer.concat([extended(COPY), sync]), data('1\n'), copyDone, sync],
  [Buffer.concat([extended(COPY), sync]), Buffer.concat([data('1\n'), copyDone, sync])],
  [Buffer.concat([extended('select 1'), sync, extended(COPY), sync]), copyDone, sync],
]

test('with a real server, idle is seen once and only when it has nothing more to say', async (t) => {
  const { port } = await proxyBefore(t, emulator)
  await emulator.control.query('create table conversed (id int)')
  const client = await RawClient.connect(t, port)
  await client.logIn({ user: 'anyone', database: 'databricks_postgres' })
  const conversation = new Conversation(readyForQuery)
  let heard = Buffer.alloc(0)
  client.socket.on('data', (chunk: Buffer) => {
    conversation.sawServer(chunk, chunk.length)
    heard = Buffer.concat([heard, chunk])
  })
  const send = (bytes: Buffer): void => {
    conversation.sawClient(bytes, bytes.length)
    client.socket.write(bytes)
  }
  const idle = async (): Promise<void> => {
    while (!conversation.isIdle) await once(client.socket, 'data')
  }
  let number = 0
  const run = async (program: readonly Buffer[], isPatient: boolean): Promise<void> => {
    for (const bytes of program) {
      send(bytes)
      if (isPatient)
        await once(client.socket, 'data', { signal: AbortSignal.timeout(20) }).catch(() => {})
    }
    await idle()
    heard = Buffer.alloc(0)
    const marker = `marker ${++number}`
    send(query(`select '${marker}' as m`))
    await idle()
    // A ReadyForQuery too many or too few would show the end of something else.
    assert.equal(heard.toString('latin1', 0, 1), 'T', marker)
    assert.ok(heard.includes(marker))
  }
  for (const program of PROGRAMS) await run(program, false)
  for (const program of [...PROGRAMS, ...PATIENT_PROGRAMS]) await run(program, true)
})
