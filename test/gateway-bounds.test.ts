/** What a gateway remembers of people is bounded, is each one's own, and is forgotten. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { waitFor } from '../src/core/deadline.js'
import { Secret } from '../src/core/secret.js'
import type { Credentials } from '../src/credentials/credentials.js'
import { ApiError } from '../src/databricks/lakebase/api-error.js'
import type { PersonalWorkspace } from '../src/databricks/lakebase/connect-workspace.js'
import { PasswordAttempts } from '../src/session/password-attempts.js'
import { People, type PersonalLogin, workspaceTurns } from '../src/session/people.js'
import type { Person } from '../src/session/person.js'
import { FakeClock, settle } from './support/fake-clock.js'

const MINUTE_MS = 60_000
const neverAborted = new AbortController().signal

/** `dapi-NAME` is the token of NAME, and `wrong…` that of no one. */
class World {
  readonly clock = new FakeClock()
  readonly attempts = new PasswordAttempts(this.clock)
  asked = 0
  readonly workspaces = new Set<WeakRef<object>>()
  readonly made: { readonly login: PersonalLogin; isClosed: boolean }[] = []
  closed = 0
  /** Waited for before the workspace answers. */
  answer: Promise<void> | undefined
  readonly people: People

  constructor(t: TestContext) {
    this.people = new People({
      signInAs: async (signIn) =>
        this.#workspace(signIn.type === 'bearer' ? signIn.token : undefined),
      credentialsFor: (login) => this.#credentials(login),
      attempts: this.attempts,
      turns: workspaceTurns(),
      clock: this.clock,
      timeoutMs: 10_000,
      closing: neverAborted,
    })
    t.after(() => this.people.close())
  }

  /** From an address of its own, so that none waits because of another. */
  logIn(user: string, password: string, at = 0): Promise<Person> {
    const address = `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`
    return this.people.identify({ user, password: new Secret(password), address }, neverAborted)
  }

  async logInAs(...names: readonly string[]): Promise<void> {
    const found = await Promise.all(names.map((name) => this.logIn('token', `dapi-${name}`)))
    assert.deepEqual(
      found.map(({ name }) => name),
      names,
    )
  }

  async refuse(user: string, at: number): Promise<void> {
    await assert.rejects(this.logIn(user, `wrong-${at}`, at), { kind: 'password' })
  }

  #workspace(token: Secret | undefined): PersonalWorkspace {
    const workspace = {
      identity: async (signal: AbortSignal): Promise<string> => {
        this.asked++
        if (this.answer !== undefined) await waitFor(this.answer, signal)
        const [, name] = /^dapi-(.*)$/.exec(token?.reveal() ?? '') ?? []
        if (name !== undefined) return name
        throw new ApiError('identity', 'no', { status: 401, errorCode: undefined })
      },
      mintCredential: () => Promise.reject(new Error('not asked for here')),
      close: async () => {
        this.closed++
      },
    }
    this.workspaces.add(new WeakRef(workspace))
    return workspace as unknown as PersonalWorkspace
  }

  #credentials(login: PersonalLogin): Credentials {
    const made = { login, isClosed: false }
    this.made.push(made)
    return {
      ...{ state: 'fresh', expiresAt: undefined },
      get: () => Promise.reject(new Error('not asked for here')),
      renew: async () => undefined,
      close: () => {
        made.isClosed = true
      },
    }
  }
}

const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `p${at}`)

test('2,000 people are remembered; one more takes the place of the one whose login is longest ago', async (t) => {
  const world = new World(t)
  const { people } = world
  await world.logInAs(...names(2_000))
  assert.deepEqual([people.size, world.asked, world.closed], [2_000, 2_000, 0])
  await world.logInAs('p0')
  assert.equal(world.asked, 2_000)
  await world.logInAs('another')
  assert.deepEqual([people.size, world.asked, world.closed], [2_000, 2_001, 1])
  const closed = world.made.filter(({ isClosed }) => isClosed)
  assert.deepEqual(
    closed.map(({ login }) => login.name),
    ['p1'],
  )
  await world.logInAs('p0')
  assert.equal(world.asked, 2_001)
  await world.logInAs('p1')
  assert.equal(world.asked, 2_002, 'who was forgotten is asked about again')
  assert.equal(world.made.at(-1)!.login.name, 'p1')
  assert.equal(new Set(world.made.map(({ login }) => login.workspace)).size, world.made.length)
})

test('of one person the credentials of 20 groups are held; one more takes the place of the first', async (t) => {
  const world = new World(t)
  const groups = names(20)
  for (const group of groups) await world.logIn(`token~${group}`, 'dapi-ada')
  assert.equal(world.made.length, 20)
  await world.logIn('token~p7', 'dapi-ada')
  assert.equal(world.made.length, 20, 'each is made once')
  await world.logIn('token~one more', 'dapi-ada')
  const open = world.made.filter(({ isClosed }) => !isClosed)
  assert.deepEqual(
    open.map(({ login }) => login.group),
    [...groups.slice(1), 'one more'],
  )
  await world.logIn('token~p7', 'dapi-grace')
  assert.equal(
    world.made.at(-1)!.login.name,
    'grace',
    "a group's credential is of the one who asks",
  )
  assert.equal(world.asked, 2)
})

test('10,000 wrong passwords and as many addresses are remembered; a no counts for its own user alone', async (t) => {
  const world = new World(t)
  for (let at = 0; at < 10_000; at++) await world.refuse('ada', at)
  assert.equal(world.asked, 10_000)
  await world.refuse('ada', 0)
  await world.refuse('ada', 9_999)
  assert.equal(world.asked, 10_000)
  await world.refuse('grace', 0)
  assert.equal(world.asked, 10_001)
  await world.refuse('ada', 0)
  assert.equal(world.asked, 10_002, 'the first was forgotten')
  await world.refuse('ada', 9_999)
  assert.equal(world.asked, 10_002)
  assert.equal(world.attempts.size, 10_000)
  assert.equal(world.people.size, 0)
})

test('who has not logged in for 15 minutes is forgotten, and who comes is not', async (t) => {
  const world = new World(t)
  await world.logInAs(...names(100))
  for (let minute = 0; minute < 14; minute++) {
    await world.clock.advance(MINUTE_MS)
    await world.logInAs('p3')
  }
  assert.deepEqual([world.people.size, world.closed], [100, 0])
  await world.clock.advance(MINUTE_MS)
  assert.deepEqual([world.people.size, world.closed, world.asked], [1, 99, 100])
  const open = world.made.filter(({ isClosed }) => !isClosed)
  assert.deepEqual(
    open.map(({ login }) => login.name),
    ['p3'],
  )
  await world.clock.advance(15 * MINUTE_MS)
  assert.deepEqual([world.people.size, world.closed, world.clock.pending], [0, 100, 0])
})

test('what was made for a person who was forgotten meanwhile is closed at once', async (t) => {
  const world = new World(t)
  let answer = (): void => {}
  world.answer = new Promise((resolve) => {
    answer = resolve
  })
  const login = world.logIn('token', 'dapi-ada')
  while (world.asked === 0) await settle()
  world.people.close()
  answer()
  assert.equal((await login).name, 'ada')
  assert.deepEqual(
    world.made.map(({ isClosed }) => isClosed),
    [true],
  )
  assert.deepEqual([world.people.size, world.clock.pending], [0, 0])
})

test('clients that leave have used up their attempts, end their questions and keep no one out', async (t) => {
  const world = new World(t)
  world.answer = new Promise(() => {})
  const leave = new AbortController()
  const from = (address: string, password: string, signal: AbortSignal): Promise<Person> =>
    world.people.identify({ user: 'token', password: new Secret(password), address }, signal)
  for (let at = 0; at < 30; at++) {
    from('192.0.2.1', `guess-${at}`, leave.signal).catch(() => {})
  }
  await settle()
  assert.equal(world.asked, 4, 'one address has half of the turns')
  world.answer = undefined
  assert.equal((await from('192.0.2.2', 'dapi-ada', neverAborted)).name, 'ada')
  world.answer = new Promise(() => {})
  leave.abort(new Error('left'))
  for (let at = 0; at < 20; at++) {
    const one = new AbortController()
    const login = from('192.0.2.3', `more-${at}`, one.signal).catch(() => {})
    await settle()
    one.abort(new Error('left'))
    await login
  }
  assert.equal(world.asked, 4 + 1 + 10, 'ten attempts, and then one must wait')
})

test('a forged token is charged until the server accepts it, and a client that leaves the login pays', async (t) => {
  const world = new World(t)
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const forge = (jti: number): string =>
    `${part({ alg: 'RS256' })}.${part({ scope: 'all-apis', jti })}.c2ln`
  for (let at = 0; at < 10; at++) {
    const person = await world.logIn('ada', forge(at))
    assert.equal(person.method, 'database-credential')
  }
  const eleventh = world.logIn('ada', forge(10))
  await settle()
  assert.equal(world.asked, 10, 'the eleventh guess waits')
  await world.clock.advance(500)
  await eleventh

  const accepted = await world.logIn('ada', forge(11), 1)
  assert.equal(await accepted.whileUnproved?.(async () => 'logged in', neverAborted), 'logged in')
  assert.equal(world.attempts.size, 1, 'a good one gives both attempts back')
  for (let at = 0; at < 5; at++) {
    const leaving = new AbortController()
    const login = (await world.logIn('ada', forge(12 + at), 1)).whileUnproved?.(async () => {
      leaving.abort(new Error('left'))
      throw leaving.signal.reason
    }, leaving.signal)
    await assert.rejects(async () => login, /left/)
  }
  const asked = world.asked
  const next = world.logIn('ada', forge(20), 1)
  await settle()
  assert.equal(world.asked, asked, 'each of the five has cost two')
  await world.clock.advance(500)
  await next
})

test('of 6,000 people and 10,000 wrong passwords nothing is in memory but what is remembered', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const world = new World(t)
  const alive = async (): Promise<number> => {
    collect()
    await settle() // what a WeakRef was asked for is held until then
    return [...world.workspaces].filter((each) => each.deref() !== undefined).length
  }
  for (let at = 0; at < 6_000; at++) await world.logInAs(`p${at}`)
  for (let at = 0; at < 10_000; at++) await world.refuse('ada', at)
  world.made.length = 0
  while ((await alive()) > 2_000) await settle()
  assert.equal(await alive(), 2_000)
  world.people.close()
  while ((await alive()) > 0) await settle()
})
