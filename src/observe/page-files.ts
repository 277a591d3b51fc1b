/** The files of the status page. They are read from the package when asked for: no build step. */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'

export interface PageFile {
  readonly type: string
  readonly bytes: Buffer
}

const PAGE = new URL('src/observe/page/', import.meta.resolve('lakebase-proxy/package.json'))

const HTML = 'text/html; charset=utf-8'
const CSS = 'text/css; charset=utf-8'
const SCRIPT = 'text/javascript; charset=utf-8'
const SVG = 'image/svg+xml'

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
  'words.js': SCRIPT,
  'icon.svg': SVG,
}

const FROM_UPLOT: Readonly<Record<string, string>> = {
  'uplot.js': 'uplot/dist/uPlot.iife.min.js',
  'uplot.css': 'uplot/dist/uPlot.min.css',
}

/** Undefined when there is no such file: only those of the lists above are ever read. */
export async function pageFile(path: string): Promise<PageFile | undefined> {
  const name = path === '/' ? 'index.html' : path.slice(1)
  if (Object.hasOwn(TYPES, name)) {
    return { type: TYPES[name]!, bytes: await readFile(new URL(name, PAGE)) }
  }
  if (Object.hasOwn(FROM_UPLOT, name)) {
    const file = createRequire(import.meta.url).resolve(FROM_UPLOT[name]!)
    return { type: name.endsWith('.css') ? CSS : SCRIPT, bytes: await readFile(file) }
  }
  return undefined
}
