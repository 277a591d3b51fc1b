/**
 * How a client says which target it wants: in its user name, which every tool has a field for, or
 * in `options`. Every tool sends some user, so that a user name is a choice only when it looks like one.
 */

import type { WireText } from '../wire/frontend.js'

export interface Choice {
  /** The target that is asked for, as the client wrote it. */
  readonly name: string
  /** The role beside it; undefined: the client names none. */
  readonly role: WireText | undefined
}

/** `NAME`, `ROLE~NAME` or `projects/…`; undefined when the user name is only a user name. */
export function choiceInUser(
  user: WireText,
  isServed: (name: string) => boolean,
): Choice | undefined {
  if (isServed(user)) return { name: user, role: undefined }
  const mark = user.lastIndexOf('~')
  if (mark !== -1) {
    const role = user.slice(0, mark) as WireText
    return { name: user.slice(mark + 1), role: role === '' ? undefined : role }
  }
  return user.startsWith('projects/') ? { name: user, role: undefined } : undefined
}

export interface TakenOption {
  /** The last one that was set, as PostgreSQL would have it; undefined: none. */
  readonly name: string | undefined
  /** Another option that begins with `lakebase.`: probably that one, mistyped. */
  readonly unknown: string | undefined
  /** The options without it, each as the client wrote it. */
  readonly rest: WireText
}

/** Takes `lakebase.target` out of the `options` of a StartupMessage, in all forms that PostgreSQL reads. */
export function takeTargetOption(options: WireText): TakenOption {
  let name: string | undefined
  let unknown: string | undefined
  const rest: string[] = []
  const words = splitOptions(options)
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!
    const next = words[at + 1]
    const value = argumentOf(word.text)
    const setting = value === 'next' ? next?.text : value
    const isSwitch = setting !== undefined && /^-[c-]/.test(word.text)
    const found = isSwitch ? targetIn(setting) : undefined
    if (isSwitch && found === undefined) unknown ??= /^lakebase\.[^=]*/i.exec(setting)?.[0]
    const whole = value === 'next' && next !== undefined ? [word, next] : [word]
    at += whole.length - 1
    if (found !== undefined) name = found
    else rest.push(...whole.map(({ written }) => written))
  }
  return { name, unknown, rest: rest.join(' ') as WireText }
}

interface Word {
  /** The word with its backslashes. */
  readonly written: string
  readonly text: string
}

/** As PostgreSQL's pg_split_opts: white space ends a word, a backslash takes the next character as it is. */
function splitOptions(options: string): Word[] {
  const written = options.match(/(?:\\[\s\S]|[^\\ \t\n\v\f\r])+\\?|\\$/g) ?? []
  return written.map((word) => ({ written: word, text: word.replace(/\\([\s\S]|$)/g, '$1') }))
}

// The switches of a backend that take an argument (process_postgres_switches). The word after such a
// switch is not a switch itself, even if it looks like one.
const WITH_ARGUMENT = 'BCcDdfhkNprStvW'

/** The argument in `-cARG` and `--ARG`; `next`: the argument of the last switch is the next word. */
function argumentOf(word: string): string | undefined {
  if (word.startsWith('--')) return word.slice(2)
  if (!word.startsWith('-')) return undefined
  const at = [...word].findIndex((letter, index) => index > 0 && WITH_ARGUMENT.includes(letter))
  if (at === -1) return undefined
  return at === word.length - 1 ? 'next' : word.slice(at + 1)
}

/** PostgreSQL compares names of settings without regard to case, and takes a hyphen for an underscore. */
function targetIn(setting: string): string | undefined {
  return /^lakebase\.target=([\s\S]*)$/i.exec(setting)?.[1]
}
