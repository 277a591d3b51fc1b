/**
 * Local access rules: the password that clients show, the certificate they are shown, and that
 * clients on other machines need both.
 */

import { X509Certificate } from 'node:crypto'

import { ProxyError } from '../../core/errors.js'
import { isLoopback } from '../../core/loopback.js'
import { Secret } from '../../core/secret.js'
import { passwordsOf, readSecretFile } from '../../core/secret-file.js'
import { readPem } from '../../core/text-file.js'
import { LOCAL_PASSWORD, type Written } from '../sources/sources.js'
import type { SettingLookup, TargetLookup } from './setting-lookup.js'
import type { LocalPassword, ProxySettings, TargetSettings } from './settings.js'

/** The password of clients: its variable, or the path of its file, which is read when clients come. */
export function readLocalPassword(
  variable: Written | undefined,
  lookup: SettingLookup,
): LocalPassword | undefined {
  const { machine, problems } = lookup
  const path = lookup.values['local-password-file']
  if (path === undefined) return variable === undefined ? undefined : new Secret(variable.text)
  const where = lookup.whereOf('local-password-file')
  if (variable !== undefined) {
    problems.add(where, `local-password-file and ${variable.where} are both set`, 'Unset one.')
  }
  return problems.catch(where, () => {
    passwordsOf(readSecretFile(path, machine.platform), path)
    return { file: path }
  })
}

/** `local-auth=password` needs a password, and a password that is set must be used. */
export function checkLocalPassword(
  password: LocalPassword | undefined,
  targets: readonly TargetLookup[],
  lookup: SettingLookup,
): void {
  const asking = targets.filter(({ values }) => values['local-auth'] === 'password')
  const [first] = asking
  // A file that could not be read is a problem already.
  const named = lookup.find('local-password-file') !== undefined
  if (first !== undefined && password === undefined && !named) {
    first.refuse(
      'local-auth',
      'local-auth=password has no password',
      `Set local-password-file or ${LOCAL_PASSWORD}.`,
    )
  }
  const chosen = targets.some((each) => each.find('local-auth') !== undefined)
  if (password !== undefined && asking.length === 0 && !chosen && targets.length > 0) {
    lookup.problems.add(
      lookup.find('local-password-file')?.where ?? LOCAL_PASSWORD,
      'a local password is set, but no client would be asked for it',
      'Set local-auth=password, or local-auth=trust to let clients in without it.',
    )
  }
}

/** `local-tls`, or the certificate and key that were named. */
export function readLocalTls(lookup: SettingLookup): ProxySettings['localTls'] {
  const { values } = lookup
  const cert = values['local-tls-cert']
  const key = values['local-tls-key']
  if (cert === undefined && key === undefined) return values['local-tls']

  if (lookup.find('local-tls') !== undefined) {
    lookup.refuse(
      'local-tls',
      `local-tls=${values['local-tls']} and local-tls-cert or local-tls-key are both set`,
      'Leave local-tls out to use that certificate.',
    )
  }
  if (cert === undefined || key === undefined) {
    const [given, missing] =
      cert === undefined
        ? (['local-tls-key', 'local-tls-cert'] as const)
        : (['local-tls-cert', 'local-tls-key'] as const)
    lookup.refuse(given, `${given} needs ${missing}`)
    return 'off'
  }
  checkCertificates('local-tls-cert', cert, lookup)
  lookup.problems.catch(lookup.whereOf('local-tls-key'), () => {
    if (!readSecretFile(key, lookup.machine.platform, readPem).includes('PRIVATE KEY-----')) {
      throw new ProxyError('config', `${key} holds no private key in PEM form`)
    }
  })
  return { cert, key }
}

/** A file that a setting names must exist and hold certificates. */
export function checkCertificates(
  name: 'local-tls-cert' | 'sslrootcert',
  path: string,
  lookup: SettingLookup,
): void {
  lookup.problems.catch(lookup.whereOf(name), () => {
    const pem = readPem(path).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
    try {
      for (const each of pem ?? []) new X509Certificate(each)
      if (pem !== null) return
    } catch {}
    throw new ProxyError('config', `${path} holds no certificate in PEM form`, {
      hint: 'It begins with -----BEGIN CERTIFICATE-----.',
    })
  })
}

/** With `local-auth=databricks` clients give secrets of their own, and log in as themselves. */
export function checkPersonal(
  target: TargetSettings,
  { localTls }: ProxySettings,
  lookup: TargetLookup,
): void {
  if (target.localAuth !== 'databricks') {
    if (target.maxConnectionsPerUser === 0) return
    lookup.refuse(
      'max-connections-per-user',
      'max-connections-per-user needs local-auth=databricks, which tells users apart',
      'Set max-connections, which counts all clients.',
    )
    return
  }
  if (localTls === 'off') {
    lookup.refuse(
      'local-auth',
      'local-auth=databricks needs local-tls, since clients send secrets of their own',
      'Set local-tls=auto, or local-tls-cert and local-tls-key.',
    )
  }
  if (target.target.kind === 'static') {
    lookup.refuse(
      'local-auth',
      `target "${target.name}" has one role and password for all, so local-auth=databricks is not possible`,
      'Name a Lakebase instance or endpoint, or set local-auth=password.',
    )
  }
  if (target.followGit !== undefined) {
    lookup.refuse(
      'follow-git',
      'follow-git serves what one person has checked out, and local-auth=databricks many people',
      'Leave follow-git out. With route=on and projects/P/branches/*, each client can choose a branch.',
    )
  }
  if (target.listen.unixSocket !== undefined) {
    lookup.refuse(
      'unix-socket',
      'local-auth=databricks needs TLS, which clients do not use on a Unix socket',
      'Leave unix-socket out.',
    )
  }
}

/** An address that other machines can reach needs a password inside TLS, or unsafe-listen. */
export function checkListening(
  target: TargetSettings,
  settings: ProxySettings,
  lookup: TargetLookup,
): void {
  const open = target.listen.addresses.find((address) => !isLoopback(address))
  if (open === undefined || settings.unsafeListen) return
  if (target.localAuth !== 'trust' && settings.localTls !== 'off') return
  lookup.refuse(
    'address',
    `address ${open} would let other machines in as you`,
    'Add --local-auth password (or databricks) and --local-tls auto; or --unsafe-listen.',
  )
}
