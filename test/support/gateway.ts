/** A team gateway in front of the emulator, its people, and how they log in. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'

import pg from 'pg'

import { demoUser, type Identity, servicePrincipal } from '../../src/emulator/inventory.js'
import { emulatorForTests } from './emulator.js'
import { otherUser } from './identities.js'
import { proxyBefore, type TestProxy, type TestProxyOptions } from './proxy.js'
import { RawClient } from './raw-client.js'

export const emulator = await emulatorForTests()
export const { control } = emulator

export interface Gateway extends TestProxy {
  readonly ca: string
  /** With a clock of its own, its certificate is of another time. */
  readonly verified: boolean
}

export async function gateway(t: TestContext, options: TestProxyOptions = {}): Promise<Gateway> {
  const proxy = await proxyBefore(t, emulator, {
    ...{ targets: ['projects/demo'], localAuth: 'databricks', localTls: 'auto', ...options },
  })
  const verified = options.clock === undefined
  return { ...proxy, verified, ca: await readFile(proxy.daemon.localCaFile!, 'utf8') }
}

export interface Login {
  readonly user: string
  readonly password: string
  readonly database?: string
}

export async function logIn(t: TestContext, proxy: Gateway, login: Login): Promise<pg.Client> {
  const client = new pg.Client({
    ...{ host: 'localhost', port: proxy.port, database: 'databricks_postgres', ...login },
    ssl: { ca: proxy.ca, rejectUnauthorized: proxy.verified },
  })
  client.on('error', () => {})
  await client.connect()
  t.after(() => client.end().catch(() => {}))
  return client
}

/** Whom the server takes the client for. */
export async function whoIs(t: TestContext, proxy: Gateway, login: Login): Promise<string> {
  const client = await logIn(t, proxy, login)
  const { rows } = await client.query('select current_user as me')
  await client.end()
  return rows[0].me
}

export const refused = (t: TestContext, proxy: Gateway, login: Login): Promise<pg.DatabaseError> =>
  logIn(t, proxy, login).then(
    () => assert.fail(`${login.user} was let in`),
    (error: pg.DatabaseError) => error,
  )

export const ada = { user: demoUser.userName, password: demoUser.pat! }
export const grace = { user: otherUser.userName, password: otherUser.pat! }
export const application = {
  user: servicePrincipal.userName,
  password: servicePrincipal.clientSecret!,
}

export function loginOf({ userName, pat, clientSecret }: Identity): Login {
  return { user: userName, password: (pat ?? clientSecret)! }
}

export async function newPeople(
  count: number,
  groups: readonly string[] = [],
): Promise<Identity[]> {
  const people = Array.from({ length: count }, (_, at): Identity => {
    const isApplication = at % 4 === 3
    const id = randomUUID()
    return {
      userName: isApplication ? id : `person-${id}@example.com`,
      displayName: `Person ${at}`,
      kind: isApplication ? 'service_principal' : 'user',
      ...(isApplication ? { clientSecret: `dose-${id}` } : { pat: `dapi-${id}` }),
      groups,
      hasRole: true,
      projectRight: 'CAN_USE',
    }
  })
  await control.addIdentities(people)
  return people
}

export async function audited(
  { log }: TestProxy,
  event: 'login' | 'logout',
  wanted: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  const { facts } = await log.seen(
    ({ level, facts }) =>
      level === 'info' &&
      facts.event === event &&
      Object.entries(wanted).every(([name, value]) => facts[name] === value),
  )
  return facts
}

/** A client that has been given TLS, and shows every byte. */
export async function rawTls(
  t: TestContext,
  { port, ca, verified }: Gateway,
  connected?: Socket,
): Promise<RawClient> {
  const socket = connected ?? (await RawClient.connect(t, port)).socket
  socket.write(Buffer.from('0000000804d2162f', 'hex'))
  await new Promise((resolve) => socket.once('readable', resolve))
  assert.equal(socket.read(1).toString(), 'S')
  const secured = connectTls({ socket, ca, servername: 'localhost', rejectUnauthorized: verified })
  secured.on('error', () => {})
  await new Promise((resolve) => secured.once('secureConnect', resolve))
  return new RawClient(secured)
}
