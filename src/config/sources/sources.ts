/**
 * The places a setting may be written in, each read into the same form: the text, and where it
 * stands. Whether the text is right is decided later, for all of them alike.
 */

import { didYouMean } from '../../core/nearest.js'
import {
  SETTING_NAMES,
  type SettingName,
  type TargetSettingName,
  variableOf,
} from '../schema/table.js'
import type { Target } from '../schema/target-text.js'

export interface Written {
  readonly text: string
  /** Where it stands, as the user would look for it. */
  readonly where: string
  /** The folder that a relative path in it starts from. */
  readonly folder: string
  /** It stands in a `.env` that the user did not name. */
  readonly isImplicit?: boolean
}

/** Settings from one place. */
export type Source = ReadonlyMap<SettingName, Written>

/** A TARGET as it was found, and the settings written beside it in a map. */
export interface WrittenTarget extends Written {
  readonly options: ReadonlyMap<TargetSettingName, Written>
}

/** A target whose text has been read; its options are still texts. */
export interface KnownTarget {
  readonly name: string
  readonly target: Target
  readonly written: WrittenTarget
  readonly options: ReadonlyMap<SettingName, Written>
}

export interface Found extends Written {
  /** 0: the target itself; 1: the flags; then the other sources, the strongest first. */
  readonly rank: number
  /** Written in the TARGET, or beside it in a map. */
  readonly isOwn: boolean
}

export interface Variables {
  readonly values: Readonly<Record<string, string | undefined>>
  readonly where: (name: string) => string
  readonly folder: string
  /** A `.env` that the user did not name. */
  readonly isImplicit?: boolean
  /** All assignments of a variable in a file, which may have several: the last one first. */
  readonly assignments?: (name: string) => readonly Pick<Written, 'text' | 'where'>[]
}

/**
 * The settings in the environment or in `.env`. An empty variable counts as not set, as compose files
 * leave them.
 */
export function fromVariables(variables: Variables, notices: string[]): Source {
  const { values, where, folder, isImplicit = false } = variables
  const settings = new Map<SettingName, Written>()
  const names = new Map<string, SettingName>(SETTING_NAMES.map((name) => [variableOf(name), name]))
  for (const [variable, text] of Object.entries(values)) {
    if (!variable.startsWith('LAKEBASE_PROXY_') || text === undefined || text.trim() === '')
      continue
    if (isServiceLink(variable, text) || variable === LOCAL_PASSWORD) continue
    const name = names.get(variable)
    if (name === undefined) {
      // Not an error: a variable, unlike a flag, may be meant for another program.
      const hint = didYouMean(variable, [...names.keys(), LOCAL_PASSWORD])
      notices.push(`${where(variable)} is not a setting${hint === undefined ? '' : `. ${hint}`}`)
    } else {
      settings.set(name, { text: text.trim(), where: where(variable), folder, isImplicit })
    }
  }
  return settings
}

export const LOCAL_PASSWORD = 'LAKEBASE_PROXY_LOCAL_PASSWORD'

/** The local password of a variable, without the line break that a shell or a Secret often leaves. */
export function localPasswordOf(variables: Variables): Written | undefined {
  const text = variables.values[LOCAL_PASSWORD]?.replace(/\r?\n$/, '')
  if (text === undefined || text === '') return undefined
  return { text, where: variables.where(LOCAL_PASSWORD), folder: variables.folder }
}

/**
 * Kubernetes gives every container variables about the Services of its namespace, and those of a
 * Service named lakebase-proxy look like ours: LAKEBASE_PROXY_PORT=tcp://10.0.0.1:5432.
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
function isServiceLink(variable: string, text: string): boolean {
  return (
    /_SERVICE_(HOST|PORT)(_|$)/.test(variable) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_|$)/.test(variable) ||
    (variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text))
  )
}
