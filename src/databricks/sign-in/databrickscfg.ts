/**
 * The profiles of `~/.databrickscfg`, as the readers of Databricks' Go and Python SDKs take them:
 * `key = value` and `key: value`, keys in any case, and keys before the first section belong
 * to DEFAULT. The lines are read here because the `ini` package cuts a secret at any `#` and takes
 * the dots of a profile's name for nesting; the SDKs do neither.
 */

export type Profiles = ReadonlyMap<string, ReadonlyMap<string, string>>

/** This section holds the CLI's own settings and is not a profile. */
export const SETTINGS_SECTION = '__settings__'
export const DEFAULT_PROFILE = 'DEFAULT'

/** Skips lines that are neither a section, a comment nor a pair, as the SDKs do. */
export function parseDatabricksCfg(text: string): Profiles {
  const profiles = new Map<string, Map<string, string>>()
  let section = DEFAULT_PROFILE
  for (const line of text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.startsWith(';')) continue
    const header = /^\[([^\]]*)\]/.exec(trimmed)
    if (header !== null) {
      section = header[1]!.trim()
      if (!profiles.has(section)) profiles.set(section, new Map())
      continue
    }
    const mark = trimmed.search(/[=:]/)
    if (mark < 1) continue
    if (!profiles.has(section)) profiles.set(section, new Map())
    const key = trimmed.slice(0, mark).trim().toLowerCase()
    profiles.get(section)!.set(key, withoutComment(trimmed.slice(mark + 1).trim()))
  }
  return profiles
}

/** A comment begins after white space only, for a secret may hold `#` and `;`; quotes protect both. */
function withoutComment(value: string): string {
  const quoted = /^(["'])(.*?)\1(\s+[#;].*)?$/.exec(value)
  if (quoted !== null) return quoted[2]!
  return value.replace(/(^|\s)[#;].*$/, '').trim()
}
