/**
 * The data of branches: each branch that was created has a PostgreSQL of its own, on a copy of its
 * source's data directory. The copy is an online backup, so that sessions on the source go on, and
 * what they commit later is not in it. A server starts with its first connection. Branches that the
 * workspace began with share one server.
 */

import { chownSync, copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { chown, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

import type { RunAs } from './postgres-binaries.js'
import { type Postgres, runServer, type ServerHome } from './postgres-server.js'

interface Cluster {
  readonly number: number
  readonly data: string
  server: Promise<Postgres> | undefined
  /** A start waits for it. */
  stopping: Promise<void>
}

export class BranchClusters {
  readonly #home: ServerHome
  /** The PostgreSQL of instances and of the branches that the workspace began with. */
  readonly shared: Postgres
  readonly #clusters = new Map<string, Cluster>()
  readonly #running = new Set<Postgres>()
  #count = 0
  /** Copies and stops take turns: a server must not stop while it is copied. */
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(home: ServerHome, shared: Postgres) {
    this.#home = home
    this.shared = shared
  }

  /** Every server that runs now: a CancelRequest may belong to any. */
  running(): readonly Postgres[] {
    return [this.shared, ...this.#running]
  }

  /** The server of a branch, started if need be. */
  async postgres(uid: string): Promise<Postgres> {
    const cluster = this.#clusters.get(uid)
    if (cluster === undefined) return this.shared
    if (this.#closed) throw new Error('the emulator is closed')
    cluster.server ??= this.#start(cluster)
    return cluster.server
  }

  /** Copies the data of `sourceUid` for the new branch `uid`. */
  create(uid: string, sourceUid: string): Promise<void> {
    return this.#inTurn(async () => {
      const number = ++this.#count
      const data = join(this.#home.directory, `branch-${number}`)
      await copyData(await this.postgres(sourceUid), data, this.#home.runAs)
      this.#clusters.set(uid, { number, data, server: undefined, stopping: Promise.resolve() })
    })
  }

  /** Ends its sessions with 57P01. The next connection starts it again. */
  stop(uid: string): Promise<void> {
    return this.#inTurn(async () => {
      const cluster = this.#clusters.get(uid)
      const server = await cluster?.server
      if (cluster === undefined || server === undefined) return
      cluster.server = undefined
      cluster.stopping = server.shutDown()
      await cluster.stopping
    })
  }

  /** Stops it and deletes its data. */
  async remove(uid: string): Promise<void> {
    await this.stop(uid)
    const cluster = this.#clusters.get(uid)
    this.#clusters.delete(uid)
    if (cluster !== undefined) await rm(cluster.data, { recursive: true, force: true })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#turn
    await Promise.all([...this.#clusters.values()].map((each) => each.server?.catch(() => {})))
    await Promise.all([...this.#running].map((each) => each.close()))
  }

  async #start(cluster: Cluster): Promise<Postgres> {
    try {
      await cluster.stopping
      const server = await runServer(this.#home, cluster.data, cluster.number)
      this.#running.add(server)
      void server.ended.then(() => this.#running.delete(server))
      return server
    } catch (error) {
      cluster.server = undefined
      throw error
    }
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}

/** https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP */
async function copyData(source: Postgres, to: string, runAs: RunAs | undefined): Promise<void> {
  const from = source.dataDirectory
  const session = await source.session()
  try {
    // A temporary slot keeps the log segments from here on until the session ends, which may be after
    // the next copy has begun: so each has a name of its own.
    const slot = basename(to).replaceAll('-', '_')
    await session.query(`select pg_create_physical_replication_slot('${slot}', true, true)`)
    await session.query("select pg_backup_start('branch', true)")
    await copyTree(from, to, runAs, (name) => !NOT_COPIED.has(name))
    const [row] = await session.query('select labelfile from pg_backup_stop(false)')
    const label = join(to, 'backup_label')
    await writeFile(label, row?.[0] ?? '', { mode: 0o600 })
    if (runAs !== undefined) await chown(label, runAs.uid, runAs.gid)
    await copyTree(join(from, 'pg_wal'), join(to, 'pg_wal'), runAs, () => true)
    for (const name of EMPTY) makeDirectory(join(to, name), runAs)
  } finally {
    session.close()
  }
}

/** Folders that are made empty, since their contents belong to the running server. */
const EMPTY = [
  ...['pg_dynshmem', 'pg_notify', 'pg_replslot', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp'],
  'pg_subtrans',
]
const NOT_COPIED = new Set([...EMPTY, 'pg_wal', 'postmaster.pid', 'postmaster.opts'])

/**
 * About a thousand small files: copied without waiting for each, which is ten times as quick, with a
 * pause for other work after each folder.
 */
async function copyTree(
  from: string,
  to: string,
  runAs: RunAs | undefined,
  isWanted: (name: string) => boolean,
): Promise<void> {
  makeDirectory(to, runAs)
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (!isWanted(entry.name)) continue
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) {
      await copyTree(source, target, runAs, () => true)
      continue
    }
    try {
      copyFileSync(source, target)
      if (runAs !== undefined) chownSync(target, runAs.uid, runAs.gid)
    } catch (error) {
      // Files come and go meanwhile; the log has what happened to them.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  await new Promise((resolve) => setImmediate(resolve))
}

function makeDirectory(path: string, runAs: RunAs | undefined): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  if (runAs !== undefined) chownSync(path, runAs.uid, runAs.gid)
}
