/**
 * The people of a gateway target: who a client is, by what it gave as user and password. The
 * workspace is asked once for any number of clients of one person, a few people at a time; its "no"
 * is remembered for 10 s, and only for that user and password together. A person is known by a hash
 * with a key of this process, asked for again every 15 minutes of use, and forgotten after as long
 * without a login: then nothing of theirs is left. One person's credentials are never another's.
 */

import { createHmac, randomBytes } from 'node:crypto'

import type { Clock } from '../core/clock.js'
import { pause, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { Turns } from '../core/turns.js'
import { type Credentials, fixedCredentials } from '../credentials/credentials.js'
import { ApiError, refusesSignIn } from '../databricks/lakebase/api-error.js'
import type { PersonalWorkspace } from '../databricks/lakebase/connect-workspace.js'
import type { PersonalSignIn } from '../databricks/lakebase/workspace.js'
import { ClientLeft } from './client-leaving.js'
import { type Known, KnownPeople } from './known-people.js'
import type { PasswordAttempts } from './password-attempts.js'
import {
  type Claim,
  type ClaimKind,
  firstName,
  groupAskedFor,
  kindOfClaim,
  type Person,
  secondName,
} from './person.js'
import {
  anotherIdentity,
  isNo,
  nameless,
  noGroup,
  tooManyLogins,
  tooSlow,
  unreachable,
  wrongPassword,
} from './person-errors.js'

/** The person, and perhaps the group, that credentials are made for. */
export interface PersonalLogin {
  readonly workspace: Pick<PersonalWorkspace, 'mintCredential'>
  /** The identity's role. */
  readonly name: string
  /** The group whose role is asked for in its place. */
  readonly group: string | undefined
}

export interface PeopleOptions {
  readonly signInAs: (signIn: PersonalSignIn) => Promise<PersonalWorkspace>
  readonly credentialsFor: (login: PersonalLogin) => Credentials
  /** One for the process: a client gets no further attempts by choosing another target. */
  readonly attempts: PasswordAttempts
  /** One for the process: it limits how many people the workspace is asked about at once. */
  readonly turns: Turns
  readonly clock: Clock
  /** How long a client waits for the workspace. */
  readonly timeoutMs: number
  /** Aborts requests to the workspace that several clients wait for: one client must not abort them. */
  readonly closing: AbortSignal
}

/**
 * How many people the workspace is asked about at once, in the whole process. Few, since a workspace
 * limits the requests of each caller. 4,000 clients may wait, which holds those of a few gateways that
 * reconnect at the same moment.
 */
export function workspaceTurns(): Turns {
  return new Turns({ atOnce: 8, waiting: 4_000, full: tooManyLogins })
}

const REMEMBER_NO_MS = 10_000
const MAX_REMEMBERED = 10_000
/** How many groups one person's credentials are held for. */
const MAX_GROUPS = 20

type Found = Known | 'database-credential'

type SignInClaim = Extract<ClaimKind, { is: 'sign-in' }>

/** A question that is under way, for all clients with the same user and password. */
interface Asking {
  readonly answer: Promise<Found>
  /** Aborted when the last of them has left. */
  readonly left: AbortController
  clients: number
}

/** One question to the workspace. */
interface Question {
  readonly key: string
  readonly claim: Claim
  readonly kind: SignInClaim
  readonly signal: AbortSignal
}

interface Remembered {
  /** Monotonic, in ms. */
  readonly until: number
  /** No error object: its stack would keep the arguments of its functions, and so a secret. */
  readonly answer: 'database-credential' | { readonly no: string }
}

export class People {
  readonly #options: PeopleOptions
  readonly #hashKey = randomBytes(32)
  readonly #known: KnownPeople
  readonly #remembered = new Map<string, Remembered>()
  readonly #asking = new Map<string, Asking>()

  constructor(options: PeopleOptions) {
    this.#options = options
    this.#known = new KnownPeople(options.clock)
  }

  /** How many people it holds something of. */
  get size(): number {
    return this.#known.size
  }

  /**
   * Errors: kind `password` (28P01) when the workspace says no, kind `identity` (28000) when the user
   * names another identity, kind `limit` after too many wrong answers, and kind `credential` (57P03)
   * when the workspace cannot say.
   */
  async identify(claim: Claim, signal: AbortSignal): Promise<Person> {
    const key = this.#keyOf(claim)
    const { found, taken } = await this.#find(key, claim, signal)
    if (found === 'database-credential') return this.#passOn(claim, taken)
    const asked = groupAskedFor(claim.user, found.name)
    if (asked === 'another') throw anotherIdentity(found.name)
    return {
      name: found.name,
      method: found.method,
      credentials: this.#credentialsOf(found, asked.group),
    }
  }

  /** Holds nothing from now on. Safe to call twice. */
  close(): void {
    this.#known.close()
    this.#remembered.clear()
  }

  /** `taken`: the attempts that stay taken until the server has accepted the login. */
  async #find(
    key: string,
    claim: Claim,
    signal: AbortSignal,
  ): Promise<{ readonly found: Found; readonly taken: number }> {
    const known = this.#known.current(key)
    if (known !== undefined) return { found: known, taken: 0 }
    const remembered = this.#recall(key)
    if (remembered === 'database-credential') return { found: remembered, taken: 0 }
    if (remembered !== undefined) return this.#refuse(claim, remembered.no, signal)
    const kind = kindOfClaim(claim)
    if (kind.is === 'database-credential') return { found: 'database-credential', taken: 0 }
    if (kind.is === 'nothing') return this.#refuse(claim, undefined, signal)
    const isFirst = !this.#asking.has(key)
    const found = await this.#join(key, claim, kind, signal)
    return { found, taken: isFirst ? 1 : 0 }
  }

  /** Joins the question that is under way, or begins it. It ends when its last client leaves. */
  async #join(key: string, claim: Claim, kind: SignInClaim, signal: AbortSignal): Promise<Found> {
    const asking = this.#asking.get(key) ?? this.#begin(key, claim, kind)
    asking.clients++
    try {
      return await waitFor(asking.answer, signal)
    } finally {
      asking.clients--
      if (asking.clients === 0) {
        if (this.#asking.get(key) === asking) this.#asking.delete(key)
        asking.left.abort(new ClientLeft())
      }
    }
  }

  #begin(key: string, claim: Claim, kind: SignInClaim): Asking {
    const left = new AbortController()
    const answer = this.#askInTime(key, claim, kind, left.signal)
    const asking: Asking = { answer, left, clients: 0 }
    this.#asking.set(key, asking)
    return asking
  }

  /** The password is known to be wrong without asking the workspace: it is slowed down all the same. */
  async #refuse(
    { address }: Claim,
    reason: string | undefined,
    signal: AbortSignal,
  ): Promise<never> {
    const { attempts } = this.#options
    await attempts.waitUntilAllowed(address, signal)
    attempts.recordWrong(address)
    throw wrongPassword(reason)
  }

  /** The key of a person: neither the group nor the case of a name matters. */
  #keyOf({ user, password }: Claim): string {
    const name = firstName(user).toLowerCase()
    const hash = createHmac('sha256', this.#hashKey).update(`${name.length}:${name}`)
    return hash.update(password.reveal()).digest('base64')
  }

  /**
   * Asks the workspace, within the time that a client waits. Called once for any number of clients
   * with the same user and password.
   */
  #askInTime(key: string, claim: Claim, kind: SignInClaim, left: AbortSignal): Promise<Found> {
    const { clock, timeoutMs, closing } = this.#options
    const signals = [closing, left]
    const deadline = { clock, ms: timeoutMs, reason: () => tooSlow(timeoutMs), signals }
    return withDeadline(deadline, (signal) => this.#ask({ key, claim, kind, signal }))
  }

  /** A turn is not kept while an address waits because of its wrong answers. */
  async #ask(question: Question): Promise<Found> {
    const { turns, attempts, clock } = this.#options
    const { claim, signal } = question
    const inTurn = <T>(work: () => Promise<T>): Promise<T> =>
      attempts.askInTurn(claim.address, () => turns.run(work, signal), signal)
    const { waitMs, found } = await inTurn(async () => {
      const waitMs = attempts.take(claim.address)
      return { waitMs, found: waitMs > 0 ? undefined : await this.#askNow(question) }
    })
    if (found !== undefined) return found
    await pause(clock, waitMs, signal)
    return inTurn(() => this.#askNow(question))
  }

  async #askNow(question: Question): Promise<Found> {
    const { attempts } = this.#options
    const { key, claim, kind, signal } = question
    try {
      const found = await this.#signIn(question)
      attempts.giveBack(claim.address)
      return found
    } catch (error) {
      if (signal.aborted || !isNo(error)) {
        // A client that leaves may have guessed: its attempt stays taken.
        if (!(signal.reason instanceof ClientLeft)) attempts.giveBack(claim.address)
        throw signal.aborted ? signal.reason : unreachable(error)
      }
      this.#known.forget(key)
      if (kind.method === 'oauth' && error instanceof ApiError && error.status === 401) {
        // The attempt stays taken until the server has accepted it.
        return this.#remember(key, 'database-credential')
      }
      throw wrongPassword(this.#remember(key, { no: error.message }).no)
    }
  }

  async #signIn({ key, kind, signal }: Question): Promise<Known> {
    const { signIn, method } = kind
    const workspace = await this.#options.signInAs(signIn)
    try {
      const name = await workspace.identity(signal)
      const confirmed = this.#known.confirm(key, name)
      if (confirmed === undefined) return this.#known.add({ key, name, method, workspace })
      await workspace.close() // the one that is held has live tokens
      return confirmed
    } catch (error) {
      await workspace.close()
      throw error
    }
  }

  #credentialsOf(known: Known, group: string | undefined): Credentials {
    if (group === '') throw noGroup()
    const { credentials, name } = known
    const held = credentials.get(group ?? '')
    if (held !== undefined) return held
    const made = this.#options.credentialsFor({
      name,
      group,
      workspace: { mintCredential: (...what) => this.#mint(known, ...what) },
    })
    for (const [first, oldest] of credentials) {
      if (credentials.size < MAX_GROUPS) break
      credentials.delete(first)
      oldest.close()
    }
    if (this.#known.holds(known)) credentials.set(group ?? '', made)
    else made.close() // good for this login; it is not kept
    return made
  }

  /** A person whose sign-in was taken back is forgotten as soon as the workspace says so. */
  async #mint(
    known: Known,
    ...what: Parameters<PersonalWorkspace['mintCredential']>
  ): ReturnType<PersonalWorkspace['mintCredential']> {
    const [, , signal] = what
    try {
      return await this.#options.turns.run(() => known.workspace.mintCredential(...what), signal)
    } catch (error) {
      if (!(error instanceof ProxyError) || !refusesSignIn(error)) throw error
      if (this.#known.holds(known)) this.#known.forget(known.key)
      throw wrongPassword(error.message)
    }
  }

  /**
   * Sends the client's database credential to the server unchanged and once. Only the server can check
   * it.
   */
  #passOn({ user, password, address }: Claim, taken: number): Person {
    const { attempts } = this.#options
    const role = secondName(user) ?? firstName(user)
    if (role === '') throw noGroup()
    if (role === 'token') throw nameless()
    return {
      // The server checks the role: of ROLE~group it says nothing about ROLE.
      name: role,
      method: 'database-credential',
      credentials: fixedCredentials({ user: role, password, method: 'given' }),
      whileUnproved: (logIn, signal) => attempts.whileUnproved(address, logIn, { signal, taken }),
    }
  }

  #recall(key: string): Remembered['answer'] | undefined {
    const found = this.#remembered.get(key)
    if (found === undefined) return undefined
    if (this.#options.clock.monotonic() < found.until) return found.answer
    this.#remembered.delete(key)
    return undefined
  }

  #remember<Answer extends Remembered['answer']>(key: string, answer: Answer): Answer {
    const until = this.#options.clock.monotonic() + REMEMBER_NO_MS
    this.#remembered.delete(key)
    this.#remembered.set(key, { until, answer })
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= MAX_REMEMBERED) break
      this.#remembered.delete(oldest)
    }
    return answer
  }
}
