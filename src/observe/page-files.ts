/**
 * The files of the status page. They are read from the package when asked for: no build step. A
 * single executable has them as assets, by the same names.
 */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { getAsset, isSea } from 'node:sea'

export interface PageFile {
  readonly type: string
  readonly bytes: Buffer
}

const HTML = 'text/html; charset=utf-8'
const CSS = 'text/css; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'
const SVG = 'image/svg+xml'

/** In `src/observe/page`. */
const TYPES: Readonly<Record<string, string>> = {
  'index.html': HTML,
  'page.css': CSS,
  'targets.css': CSS,
  'lists.css': CSS,
  'page.js': SCRIPT,
  'charts.js': SCRIPT,
  'connect.js': SCRIPT,
  'copy.js': SCRIPT,
  'sessions.js': SCRIPT,
  'targets.js': SCRIPT,
  'failures.js': SCRIPT,
  'parts.js': SCRIPT,
  'words.js': SCRIPT,
  'icon.svg': SVG,
}

/** In the package uplot. */
const FROM_UPLOT: Readonly<Record<string, string>> = {
  'uplot.js': 'uplot/dist/uPlot.iife.min.js',
  'uplot.css': 'uplot/dist/uPlot.min.css',
}

/** Undefined when there is no such file: only those of the lists above are ever read. */
export async function pageFile(path: string): Promise<PageFile | undefined> {
  const name = path === '/' ? 'index.html' : path.slice(1)
  const isOurs = Object.hasOwn(TYPES, name)
  if (!isOurs && !Object.hasOwn(FROM_UPLOT, name)) return undefined
  const type = TYPES[name] ?? (name.endsWith('.css') ? CSS : SCRIPT)
  if (isSea()) return { type, bytes: Buffer.from(getAsset(name)) }
  const found = createRequire(import.meta.url)
  const file = isOurs
    ? join(dirname(found.resolve('lakebase-proxy/package.json')), 'src/observe/page', name)
    : found.resolve(FROM_UPLOT[name]!)
  return { type, bytes: await readFile(file) }
}
