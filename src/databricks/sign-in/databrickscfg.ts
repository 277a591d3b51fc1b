/**
 * The profiles of `~/.databrickscfg`. Read by lines of our own, because the `ini` package cuts a
 * secret at any `#` and takes the dots of a profile's name for nesting; Databricks' SDKs do neither.
 */

export type Profiles = ReadonlyMap<string, ReadonlyMap<string, string>>

/** The section that holds the CLI's own settings, and is no profile. */
export const SETTINGS_SECTION = '__settings__'

/** Lines that are neither a section, a comment nor `key = value` are passed over, as in the SDKs. */
export function parseDatabricksCfg(text: string): Profiles {
  const profiles = new Map<string, Map<string, string>>()
  let section = ''
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.startsWith(';')) continue
    const header = /^\[([^\]]*)\]/.exec(trimmed)
    if (header !== null) {
      section = header[1]!.trim()
      if (!profiles.has(section)) profiles.set(section, new Map())
      continue
    }
    const pair = /^([^=]+?)\s*=\s*(.*)$/.exec(trimmed)
    if (pair === null) continue
    if (!profiles.has(section)) profiles.set(section, new Map())
    profiles.get(section)!.set(pair[1]!, withoutComment(pair[2]!))
  }
  return profiles
}

/** A comment begins only after a space, for a secret may hold `#` and `;`; within quotes, none does. */
function withoutComment(value: string): string {
  const quoted = /^(["'])(.*?)\1(\s+[#;].*)?$/.exec(value)
  if (quoted !== null) return quoted[2]!
  return value.replace(/(^|\s)[#;].*$/, '').trim()
}
