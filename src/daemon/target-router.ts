/**
 * The table of one port that serves several targets. It finds the target that a client has chosen, and
 * refuses a client that has chosen no target, or an unknown one. It asks no workspace.
 */

import { isBranchIn } from '../config/resolve/routing.js'
import type { ProxySettings } from '../config/resolve/settings.js'
import { ProxyError } from '../core/errors.js'
import { quoted } from '../core/plain-text.js'
import type { Route, ServingTarget } from '../session/route.js'
import { type Choice, choiceInUser, takeTargetOption } from '../session/target-choice.js'
import type { Canceller } from '../upstream/cancel.js'
import { fromWireText, type StartupMessage, toWireText, type WireText } from '../wire/frontend.js'
import { BranchTargets } from './branch-targets.js'
import type { GitTarget } from './git-target.js'
import type { Entrance } from './port.js'
import { isSameSetting } from './reload-plan.js'
import type { RunningTarget } from './running-target.js'

type PortSettings = Pick<ProxySettings, 'route' | 'localPassword'>

export type RoutedTarget = RunningTarget | GitTarget | BranchTargets

export class TargetRouter implements Entrance {
  readonly #settings: PortSettings
  readonly #targets: readonly RoutedTarget[]
  /** By every name that a client may use, as sent on the wire. */
  readonly #byName = new Map<string, RoutedTarget>()

  /** Returns the router that serves this port now. After a reload it can be another one. */
  readonly #current: () => TargetRouter | undefined

  /** The port is that of the first target. */
  constructor(
    settings: PortSettings,
    targets: readonly RoutedTarget[],
    current: () => TargetRouter | undefined = () => undefined,
  ) {
    this.#settings = settings
    this.#targets = targets
    this.#current = current
    for (const target of targets) this.#byName.set(toWireText(target.settings.name), target)
    for (const { settings } of targets) {
      const called = targets.filter((other) => other.settings.text === settings.text)
      const text = toWireText(settings.text)
      // When two targets have the same TARGET, that text is ambiguous: clients must use the names.
      if (called.length === 1 && !this.#byName.has(text)) this.#byName.set(text, called[0]!)
    }
  }

  get cancellers(): readonly Canceller[] {
    return this.#targets.flatMap(({ cancellers }) => cancellers)
  }

  route(startup: StartupMessage): Route {
    const route = this.#routeOf(startup)
    const { open } = route
    if (open === undefined) return route
    return {
      ...route,
      open: (signal) =>
        open(signal).catch((error) => this.#openNow(startup, { route, error, signal })),
    }
  }

  /** A reload replaced the target while the client was on its way to it: the client goes to the new one. */
  async #openNow(
    startup: StartupMessage,
    late: { readonly route: Route; readonly error: unknown; readonly signal: AbortSignal },
  ): Promise<ServingTarget> {
    const { route, error, signal } = late
    const current = this.#current()
    const isStopping = error instanceof ProxyError && error.kind === 'stopping'
    if (!isStopping || current === undefined || current === this) throw error
    const { target, refusal, open } = current.route(startup)
    // With another proof required, what the client has shown does not count: it must reconnect.
    if (!isSameSetting(current.#proofFor(target), this.#proofFor(route.target))) throw error
    if (refusal !== undefined) throw refusal
    return open === undefined ? target : open(signal)
  }

  /**
   * What a client has to show for this target. A password file counts by its path: its content may change
   * without a reload too, and is compared again at the end of a login.
   */
  #proofFor(serving: ServingTarget): object {
    const { settings } = this.#targets.find((each) => each.serving === serving)!
    const { localAuth, databricksHost, profile } = settings
    const { localPassword } = this.#settings
    switch (localAuth) {
      case 'trust':
        return { localAuth }
      case 'password':
        return { localAuth, localPassword }
      case 'databricks':
        return { localAuth, databricksHost, profile }
    }
  }

  #routeOf({ parameters: sent }: StartupMessage): Route {
    const user = sent.get('user') ?? ('' as WireText)
    const options = sent.get('options')
    const taken = options === undefined ? undefined : takeTargetOption(options)
    const parameters = taken?.name === undefined ? sent : withOptions(sent, taken.rest)
    const choice =
      choiceInUser(user, (name) => this.#byName.has(name)) ??
      (taken?.name === undefined ? undefined : { name: taken.name, role: user })
    const [first] = this.#targets
    if (first === undefined) throw new Error('a port serves no target')
    if (choice === undefined) {
      const login = { parameters, role: user }
      if (taken?.unknown !== undefined) {
        const refusal = this.#unknownOption(taken.unknown)
        return { target: first.serving, login, refusal }
      }
      if (this.#settings.route !== 'required' && !(first instanceof BranchTargets))
        return first.routed(login)
      const refusal = this.#refused('the client names no target')
      return { target: first.serving, login, refusal }
    }
    return this.#chosen(choice, parameters) ?? this.#unknown(choice, parameters)
  }

  #chosen({ name, role }: Choice, parameters: StartupMessage['parameters']): Route | undefined {
    const login = { parameters, role }
    const target = this.#byName.get(name)
    if (target !== undefined && !(target instanceof BranchTargets)) {
      return { ...target.routed(login), refusal: refusalWithoutRole(target, name, role) }
    }
    for (const branches of this.#targets) {
      if (!(branches instanceof BranchTargets) || !isBranchIn(branches.settings, name)) continue
      const refusal = refusalWithoutRole(branches, name, role)
      const open = (signal: AbortSignal) => branches.open(name, signal)
      return { target: branches.serving, login, refusal, open }
    }
    return undefined
  }

  #unknown({ name, role }: Choice, parameters: StartupMessage['parameters']): Route {
    const shown = quoted(fromWireText(name as WireText), '')
    const what = shown === '' ? 'the target that the client names' : `target ${shown}`
    const refusal = this.#refused(`${what} is not served here`)
    return { target: this.#targets[0]!.serving, login: { parameters, role }, refusal }
  }

  /** Without this, a mistyped choice would lead to the first target. */
  #unknownOption(option: string): ProxyError {
    const shown = quoted(fromWireText(option as WireText), '')
    const { message, detail } = this.#refused(`unknown option ${shown}`)
    return new ProxyError('route', message, {
      detail,
      hint: `The option that chooses a target is lakebase.target, as in: -c lakebase.target=${this.#example}`,
    })
  }

  /** A name that a client may use. */
  get #example(): string | undefined {
    const example = this.#targets.find((target) => !(target instanceof BranchTargets))
    return example?.settings.name ?? this.#targets[0]?.settings.name.replace('*', 'BRANCH')
  }

  #refused(message: string): ProxyError {
    const names = this.#targets.map(({ settings }) => settings.name)
    const shown = names.slice(0, MAX_SHOWN).join(', ')
    const more = names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : ''
    return new ProxyError('route', message, {
      detail: `This lakebase-proxy serves ${shown}${more}.`,
      hint: `Name one of them as the user, as in: psql -U ${this.#example}`,
    })
  }
}

const MAX_SHOWN = 20

function withOptions(
  sent: StartupMessage['parameters'],
  rest: WireText,
): StartupMessage['parameters'] {
  const parameters = new Map(sent)
  if (rest === '') parameters.delete('options')
  else parameters.set('options', rest)
  return parameters
}

/** A target that logs in as the role that the client names refuses a client that names none. */
function refusalWithoutRole(
  { settings }: RoutedTarget,
  name: string,
  role: WireText | undefined,
): ProxyError | undefined {
  if (settings.login.as !== 'client' || role !== undefined) return undefined
  const text = fromWireText(name as WireText)
  return new ProxyError('identity', `user name "${text}" names a target and no role`, {
    hint: `Name both, as in ROLE~${text}: this target logs in as the role that the client names.`,
  })
}
