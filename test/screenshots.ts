/**
 * Makes the README's screenshots: starts the demo, lets a few clients do their daily work, and
 * takes the status page as a person would see it. `npm run screenshots`; takes three minutes.
 */

import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import pg from 'pg'
import { chromium } from 'playwright-core'

const MAIN = fileURLToPath(new URL('../bundle/main.js', import.meta.url))
const FOLDER = '.github/screenshots'
const WORK_MS = 170_000

const APPLICATIONS = ['psql', 'DBeaver 24.3 - Main', 'orders-api', 'pgbench', 'dbt', 'metabase']

const demo = spawn(process.execPath, [MAIN, 'demo'], { stdio: ['ignore', 'pipe', 'inherit'] })
try {
  const { port, url } = await guide()
  await dailyWork(port)
  await takeAll(url)
} finally {
  demo.kill('SIGINT')
}
process.exit(0)

async function guide(): Promise<{ port: number; url: string }> {
  let text = ''
  for await (const chunk of demo.stdout) {
    text += String(chunk)
    const port = /psql -h localhost -p (\d+)/.exec(text)?.[1]
    const url = /Status page: (\S+?)\/?\s/.exec(text)?.[1]
    if (port !== undefined && url !== undefined) return { port: Number(port), url }
  }
  throw new Error(`the demo ended:\n${text}`)
}

/** Sessions of all ages, some bytes, and two mistakes that anybody makes. */
async function dailyWork(port: number): Promise<void> {
  const until = Date.now() + WORK_MS
  const long: pg.Client[] = []
  for (let round = 0; Date.now() < until; round++) {
    if (round % 12 === 0 && long.length < APPLICATIONS.length) {
      long.push(await client(port, APPLICATIONS[long.length]!))
    }
    const kilobytes = 20 + 60 * (1 + Math.sin(round / 9)) + 40 * Math.random()
    await long[round % long.length]!.query(`select repeat('x', ${Math.round(kilobytes * 1000)})`)
    const short = await client(port, 'orders-api')
    await short.query('select 1')
    if (round === 40) await client(port, 'psql', { database: 'ordres' }).catch(() => {})
    await delay(700)
    await short.end()
  }
  await client(port, 'psql', { database: 'postgres_' }).catch(() => {})
}

async function client(port: number, name: string, more: pg.ClientConfig = {}): Promise<pg.Client> {
  const options = { host: '127.0.0.1', port, user: 'me', application_name: name, ...more }
  const opened = new pg.Client({ database: 'databricks_postgres', ...options })
  opened.on('error', () => {}) // the demo ends before they do
  await opened.connect()
  return opened
}

async function takeAll(url: string): Promise<void> {
  await mkdir(FOLDER, { recursive: true })
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync'],
  })
  for (const [name, colorScheme, width] of [
    ['status-page-light', 'light', 1120],
    ['status-page-dark', 'dark', 1120],
    ['status-page-narrow', 'light', 400],
  ] as const) {
    const viewport = { width, height: 900 }
    const page = await browser.newPage({ viewport, colorScheme, locale: 'en-GB' })
    await page.goto(url)
    await page.locator('.plot canvas').last().waitFor()
    await page.locator('#sessions tbody tr').first().waitFor()
    const fullPage = width > 400
    await page.screenshot({ path: `${FOLDER}/${name}.png`, fullPage })
    await page.close()
  }
  await browser.close()
}
