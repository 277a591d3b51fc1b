/**
 * pgAdmin 4, its own page driven in Chromium: a server is added as docs/clients.md says, the tree is
 * opened, and the query tool runs a query.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'

import { needsChromium, openBrowser } from '../support/browser.js'
import { emulatorForTests } from '../support/emulator.js'
import { freePort } from '../support/http.js'
import { proxyForTests } from '../support/started-proxy.js'
import { installed, scratchFolder } from './installed.js'

const emulator = await emulatorForTests()
const proxy = await proxyForTests(emulator)
const pgadmin = installed('pgadmin', 'bin/pgadmin4')
const home = scratchFolder()

test('pgAdmin adds the proxy as a server, opens its tree and runs a query', {
  skip: pgadmin.skip || needsChromium,
}, async (t) => {
  const url = await startPgadmin(t)
  const browser = await openBrowser(t)
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
  page.setDefaultTimeout(90_000) // its first start compiles for long
  await page.goto(`${url}/browser/`)
  const dialog = page.locator('.MuiDialog-root')
  await dialog.locator('input').fill('a master password')
  await dialog.getByText('OK', { exact: true }).click()
  await dialog.waitFor({ state: 'hidden' })

  const field = (name: string) => page.getByRole('textbox', { name, exact: true })
  await page.getByText('Add New Server').click()
  await field('Name').fill('Lakebase')
  await page.locator('[role=tab]', { hasText: 'Connection' }).first().click()
  await field('Host name/address').fill('localhost')
  await field('Port').fill(`${proxy.port}`)
  await field('Maintenance database').fill('databricks_postgres')
  await field('Username').fill('any')
  await page.locator('button', { hasText: /^Save$/ }).click()

  const entry = (name: RegExp) => page.locator('.file-entry', { hasText: name }).first()
  await page.getByText('Server sessions').waitFor()
  for (const name of [/^Lakebase/, /^Databases/, /^databricks_postgres/]) {
    await entry(name).dblclick()
  }
  await entry(/^Schemas/).waitFor()
  await entry(/^databricks_postgres/).click()
  await page.keyboard.press('Alt+Shift+Q')
  const tool = page.frameLocator('iframe').last()
  await tool.locator('.cm-content:visible').first().click()
  await page.keyboard.type("select current_user || ' by pgAdmin' as who")
  await page.keyboard.press('F5')
  await tool.getByRole('gridcell', { name: 'ada@example.com by pgAdmin' }).first().waitFor()
})

/** Its desktop mode, for one user, with its files in a folder of their own. */
async function startPgadmin(t: TestContext): Promise<string> {
  const port = await freePort()
  const own = { PGADMIN_SERVER_MODE: 'OFF', PGADMIN_INT_PORT: `${port}` }
  const program = spawn(pgadmin.path, [], {
    env: { PATH: process.env.PATH, HOME: home, LANG: 'C.UTF-8', ...own },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.after(async () => {
    const exit = once(program, 'exit')
    if (program.kill('SIGKILL')) await exit
  })
  let printed = ''
  for await (const chunk of program.stdout.iterator({ destroyOnReturn: false })) {
    printed += chunk
    if (printed.includes('Serving Flask app')) break
  }
  program.stdout.resume()
  return `http://127.0.0.1:${port}`
}
