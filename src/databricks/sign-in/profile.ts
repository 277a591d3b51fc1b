/**
 * Which profile of the configuration file is used, and what it says: the one that was asked for,
 * else `default_profile` of the file's settings section, else DEFAULT, else the only one there is.
 * `databricks auth login` names a profile after the workspace, so a first login makes no DEFAULT.
 */

import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'

import { ProxyError } from '../../core/errors.js'
import { isForeign } from '../../core/secret-file.js'
import { decodeText } from '../../core/text-file.js'
import { isAccountConsole } from '../http/workspace-host.js'
import {
  DEFAULT_PROFILE,
  type Profiles,
  parseDatabricksCfg,
  SETTINGS_SECTION,
} from './databrickscfg.js'

export interface ProfileRequest {
  /** The name that was set, and by which flag or variable. */
  readonly asked: { readonly name: string; readonly by: string } | undefined
  /** DATABRICKS_CONFIG_FILE. */
  readonly file: string | undefined
  readonly homeDir: string
  /** The host or a way to sign in is set already: then only a profile that was asked for is read. */
  readonly enough: boolean
}

export interface Profile {
  readonly name: string | undefined
  /** As in `profile "dev" of /home/me/.databrickscfg`. */
  readonly label: string
  readonly values: ReadonlyMap<string, string>
  /** What happened to the file, for messages that say what was looked at. */
  readonly note: string
  /** The profiles to choose from, where none was chosen. */
  readonly choices: readonly string[]
  readonly notices: readonly string[]
}

/** Errors: kind `config`, for a file that cannot be used and for a named profile that is not in it. */
export async function readProfile(request: ProfileRequest): Promise<Profile> {
  const { asked, enough, homeDir } = request
  const file = expandHome(request.file || '~/.databrickscfg', homeDir)
  if (asked === undefined && enough) return noProfile(`${file} was not read`)
  const read = await readProfiles(file)
  if (read === undefined) {
    if (asked === undefined) return noProfile(`${file} does not exist`)
    throw new ProxyError('config', `${file} does not exist, so it has no profile "${asked.name}"`, {
      hint: `${asked.by} names the profile. Make it with: databricks auth login --profile ${asked.name}`,
    })
  }
  const { profiles, notices } = read
  const byDefault = profiles.get(SETTINGS_SECTION)?.get('default_profile') || undefined
  const named = asked?.name ?? byDefault
  const names = profileNames(profiles)
  if (named !== undefined) {
    if (names.includes(named)) return chosen(named, notices)
    throw new ProxyError('config', `${file} has no profile "${named}"`, {
      detail: `It is named by ${asked?.by ?? 'default_profile in that file'}.`,
      hint:
        names.length === 0
          ? 'It has no profiles; make one with: databricks auth login'
          : `Its profiles are: ${names.join(', ')}.`,
    })
  }
  if (names.includes(DEFAULT_PROFILE)) return chosen(DEFAULT_PROFILE, notices)
  const usable = names.filter((name) => namesWorkspace(profiles.get(name)))
  const [only, ...others] = usable
  if (only === undefined) return noProfile(`${file} has no profile ${DEFAULT_PROFILE}`)
  if (others.length > 0) {
    return { ...noProfile(`${file} has no profile ${DEFAULT_PROFILE}`), choices: usable }
  }
  return chosen(only, [...notices, `using profile "${only}", the only one in ${file}`])

  function chosen(name: string, told: readonly string[]): Profile {
    return {
      name,
      label: `profile "${name}" of ${file}`,
      values: profiles.get(name) ?? new Map(),
      note: `${file} was read`,
      choices: names.filter((other) => other !== name && namesWorkspace(profiles.get(other))),
      notices: told,
    }
  }
}

/** Where several profiles sign in to a workspace and none is the default, for a person to choose. */
export async function profilesToChooseFrom(
  from: Pick<ProfileRequest, 'file' | 'homeDir'>,
): Promise<readonly { readonly name: string; readonly host: string }[]> {
  const { choices, name } = await readProfile({ ...from, asked: undefined, enough: false })
  if (name !== undefined || choices.length === 0) return []
  const read = await readProfiles(expandHome(from.file || '~/.databrickscfg', from.homeDir))
  return choices.map((each) => ({
    name: each,
    host: read?.profiles.get(each)?.get('host') ?? '',
  }))
}

export function noProfile(note: string): Profile {
  return { name: undefined, label: '', values: new Map(), note, choices: [], notices: [] }
}

interface ReadFile {
  readonly profiles: Profiles
  readonly notices: readonly string[]
}

/** Undefined when there is no such file. */
async function readProfiles(file: string): Promise<ReadFile | undefined> {
  try {
    const notices = await checkOwner(file)
    return { profiles: parseDatabricksCfg(decodeText(await readFile(file), file)), notices }
  } catch (error) {
    if (error instanceof ProxyError) throw error
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ProxyError('config', `could not read ${file}: ${code || String(error)}`, {
      cause: error,
      hint: 'Check its permissions, or set DATABRICKS_CONFIG_FILE.',
    })
  }
}

/**
 * The file says where credentials go, so a file that every user can write is refused. One that
 * another user owns is used with a notice: a container reads a file of its host that way.
 */
async function checkOwner(file: string): Promise<readonly string[]> {
  const found = await stat(file)
  if (process.platform === 'win32' || !found.isFile()) return []
  if ((found.mode & 0o002) !== 0) {
    throw new ProxyError('config', `${file} can be written by every user`, {
      detail: 'It says which workspace your credentials are sent to.',
      hint: `Type: chmod 600 ${file}`,
    })
  }
  return isForeign(found) ? [`${file} belongs to another user, who can change it`] : []
}

function profileNames(profiles: Profiles): string[] {
  return [...profiles.keys()].filter(
    (name) => name !== SETTINGS_SECTION && (profiles.get(name)?.size ?? 0) > 0,
  )
}

/** Profiles of the account console sign in to no workspace. */
function namesWorkspace(values: ReadonlyMap<string, string> | undefined): boolean {
  const host = values?.get('host') ?? ''
  return host !== '' && !isAccountConsole(host)
}

function expandHome(file: string, homeDir: string): string {
  return /^~(?=[/\\]|$)/.test(file) ? path.join(homeDir, file.slice(1)) : file
}
