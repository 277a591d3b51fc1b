/**
 * What a running proxy tells the other commands of its user: a file of mode 0600 that says where it
 * is and what it serves, from the moment it listens to its end. It holds no secret.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { processSpace, startOfProcess } from './process-identity.js'
import { type FolderPlace, onlyOwnerCanWrite, runningFolder } from './running-folder.js'
import type { AnnouncedProxy, RunningFile } from './running-proxies.js'

export class Announcement {
  readonly #file: string
  readonly #process: RunningFile['process']

  private constructor(file: string, process: RunningFile['process']) {
    this.#file = file
    this.#process = process
  }

  /** Undefined where no such file can be kept: the proxy runs all the same. */
  static async make(place: FolderPlace, proxy: AnnouncedProxy): Promise<Announcement | undefined> {
    const folder = runningFolder(place)
    if (folder === undefined) return undefined
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      if (!onlyOwnerCanWrite(folder, place)) return undefined
      const { pid } = process
      const start = await startOfProcess(pid)
      if (start === undefined) return undefined
      const file = join(folder, `${pid}-${randomBytes(4).toString('hex')}.json`)
      const announcement = new Announcement(file, { ...(await processSpace()), pid, start })
      await announcement.update(proxy)
      return announcement
    } catch {
      return undefined // a full disk, or a file system that is read-only
    }
  }

  /** Replaces the file in one step, so that a reader never sees half of it. Never rejects. */
  async update(proxy: AnnouncedProxy): Promise<void> {
    const content: RunningFile = { ...proxy, process: this.#process }
    const unfinished = `${this.#file}.new`
    try {
      await writeFile(unfinished, JSON.stringify(content), { mode: 0o600 })
      await rename(unfinished, this.#file)
    } catch {
      await this.remove()
    }
  }

  /** Safe to call twice. Never rejects. */
  async remove(): Promise<void> {
    for (const file of [this.#file, `${this.#file}.new`]) {
      await rm(file, { force: true }).catch(() => {})
    }
  }
}
