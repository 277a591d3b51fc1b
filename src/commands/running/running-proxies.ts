/**
 * The proxies of this user that run now, found by the files they write (announcement.ts). A file
 * counts only when no other user can have written it and the process that wrote it still runs. The
 * file of a process that is gone is removed.
 */

import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { z } from 'zod'

import { processSpace, startOfProcess } from './process-identity.js'
import { type FolderPlace, onlyOwnerCanWrite, runningFolder } from './running-folder.js'

// Far above what a person runs at once, and what a hundred targets need.
const MAX_FILES = 200
const MAX_BYTES = 256 * 1024

/** What a proxy writes (announcement.ts). */
const RunningFileSchema = z.object({
  /** URL of the admin interface, or the path of its Unix socket; undefined without one. */
  admin: z.string().optional(),
  targets: z.array(
    z.object({
      name: z.string(),
      /** The TARGET as it was written; undefined from a lakebase-proxy that did not tell. */
      text: z.string().optional(),
      /** URL of its workspace; undefined for a static URL. */
      workspace: z.string().optional(),
      address: z.object({
        host: z.string(),
        port: z.number(),
        database: z.string(),
        user: z.string().optional(),
        userMatters: z.boolean(),
        sslmode: z.enum(['disable', 'require', 'verify-full']),
        sslrootcert: z.string().optional(),
      }),
    }),
  ),
  process: z.object({
    host: z.string(),
    boot: z.string(),
    namespace: z.string(),
    pid: z.number().int().positive(),
    start: z.string(),
  }),
})

export type RunningFile = z.infer<typeof RunningFileSchema>
export type AnnouncedProxy = Omit<RunningFile, 'process'>
export type AnnouncedTarget = RunningFile['targets'][number]

/** The one that wrote its file longest ago comes first; a reload writes it again. Never rejects. */
export async function runningProxies(place: FolderPlace): Promise<readonly RunningFile[]> {
  const folder = runningFolder(place)
  if (folder === undefined || !onlyOwnerCanWrite(folder, place)) return []
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'))
  const found = await Promise.all(
    names.slice(0, MAX_FILES).map((name) => readIfRunning(join(folder, name), place)),
  )
  return found
    .filter((each) => each !== undefined)
    .sort((a, b) => a.mtimeMs - b.mtimeMs)
    .map(({ proxy }) => proxy)
}

async function readIfRunning(
  file: string,
  place: FolderPlace,
): Promise<{ readonly proxy: RunningFile; readonly mtimeMs: number } | undefined> {
  const { mtimeMs = 0, size = 0 } = (await stat(file).catch(() => undefined)) ?? {}
  if (!onlyOwnerCanWrite(file, place) || size > MAX_BYTES) return undefined
  const proxy = parse(await readFile(file, 'utf8').catch(() => ''))
  if (proxy === undefined) return undefined
  const life = await lifeOf(proxy)
  if (life === 'gone') await rm(file, { force: true }).catch(() => {})
  return life === 'runs' ? { proxy, mtimeMs } : undefined
}

/** Which of them holds a port, and the names of what it serves there. */
export function ownerOf(
  port: number,
  running: readonly RunningFile[],
): { readonly names: string; readonly pid: number } | undefined {
  for (const { admin, targets, process } of running) {
    const served = targets.filter(({ address }) => address.port === port)
    const isAdmin = admin !== undefined && URL.canParse(admin) && new URL(admin).port === `${port}`
    const names = (isAdmin ? targets : served).map(({ name }) => name).join(', ')
    if (names !== '') return { names, pid: process.pid }
  }
  return undefined
}

function parse(text: string): RunningFile | undefined {
  try {
    return RunningFileSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** `unknown`: a process of another machine or container that shares the folder. */
async function lifeOf({ process }: RunningFile): Promise<'runs' | 'gone' | 'unknown'> {
  const here = await processSpace()
  if (process.host !== here.host) return 'unknown'
  if (process.boot !== here.boot) return 'gone'
  if (process.namespace !== here.namespace) return 'unknown'
  return (await startOfProcess(process.pid)) === process.start ? 'runs' : 'gone'
}
