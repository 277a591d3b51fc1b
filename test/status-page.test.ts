/** The status page in a real browser: what a person sees, copies and can reach. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Page } from 'playwright-core'

import { axeViolations, needsChromium, openBrowser, openPage } from './support/browser.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { connectedClient, proxyBefore, run } from './support/proxy.js'

const emulator = await emulatorForTests({ tokenTtlMs: 6_000 })
const skip = needsChromium

const SHAPES = [400, 1280].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({
    colorScheme,
    viewport: { width, height: 900 },
  })),
)

test('a session, a token and an error are seen as they come, at every width and in both schemes', {
  skip,
}, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, targets: ['demo-instance', 'projects/demo'] },
  })
  const browser = await openBrowser(t)
  for (const shape of SHAPES) {
    const name = `${shape.viewport.width} px, ${shape.colorScheme}`
    const { page, complaints } = await openPage(browser, daemon.adminUrl!, shape)
    await page.getByText('Nobody is connected').waitFor()
    await page.getByRole('heading', { name: 'demo-instance' }).waitFor()
    assert.equal(await page.title(), 'Ready · lakebase-proxy', name)
    assert.deepEqual(await axeViolations(page), [], `${name}, nobody connected`)

    const refreshed = page.locator('.target').first().locator('[data-of=refreshed]')
    await refreshed.filter({ hasText: 'expires at' }).waitFor()
    const [before] = /expires at .*/.exec((await refreshed.textContent())!)!

    const application = `app ${shape.viewport.width} ${shape.colorScheme}`
    const client = await connectedClient(t, port, { application_name: application })
    const row = page.getByRole('row').filter({ hasText: application })
    await row.getByText('connected').waitFor()
    await client.query("select repeat('x', 2000000)")
    await row.getByText('2.0 MB').waitFor()

    const database = `gone_${shape.viewport.width}_${shape.colorScheme}`
    await assert.rejects(connectedClient(t, port, { database }))
    const failure = page.locator('#failures li').filter({ hasText: database })
    await failure.getByText(`database "${database}" does not exist`).waitFor()
    await failure.getByText('Name one that exists').waitFor()
    assert.match((await failure.textContent()) ?? '', /session [0-9a-f]{8}, in login/)

    await page.locator('.plot canvas').first().waitFor()
    await refreshed.filter({ hasText: 'expires at', hasNotText: before }).waitFor()
    assert.deepEqual(await axeViolations(page), [], `${name}, with a session and an error`)
    assert.equal(await sidewaysScroll(page), 0, name)

    await client.end()
    await page.getByText('Nobody is connected').waitFor()
    assert.deepEqual(complaints, [], name)
    await page.context().close()
  }
})

test('the psql line that is copied runs as it is', { skip: skip || needsPsql }, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const permissions = ['clipboard-read', 'clipboard-write']
  const browser = await openBrowser(t)
  const { page } = await openPage(browser, daemon.adminUrl!, { permissions })
  const copied = async (): Promise<string> => page.evaluate('navigator.clipboard.readText()')

  for (const place of ['.target', '#sessions']) {
    const line = page.locator(`${place} .line`)
    await line.getByRole('button', { name: 'Copy' }).click()
    await line.getByRole('button', { name: 'Copied' }).waitFor()
    const { stdout, stderr } = await run('sh', ['-c', `${await copied()} -XAtc 'select 41 + 1'`])
    assert.equal(stdout, '42\n', stderr)
    await page.evaluate("navigator.clipboard.writeText('')")
  }

  for (const [tool, form] of [
    ['JDBC', /^jdbc:postgresql:\/\/localhost:\d+\/databricks_postgres\?user=ada%40example\.com/],
    ['DBeaver', /^dbeaver -con 'driver=postgresql\|.*host=localhost\|/],
    ['SQLAlchemy', /^postgresql\+psycopg:\/\/ada%40example\.com@localhost:\d+\//],
  ] as const) {
    await page.getByRole('radio', { name: tool }).check()
    assert.match(await page.getByRole('textbox', { name: 'Line to copy' }).inputValue(), form)
  }
})

test('everything can be reached and done with the keyboard alone', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const small = await connectedClient(t, port, { application_name: 'small' })
  const large = await connectedClient(t, port, { application_name: 'large' })
  await small.query('select 1')
  await large.query("select repeat('x', 100000)")
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!)
  await page.getByRole('cell', { name: 'large' }).waitFor()
  const applications = (): Promise<string[]> =>
    page.locator('td[data-label=Application]').allTextContents()

  await tabTo(page, 'psql')
  await page.keyboard.press('ArrowRight')
  assert.match(await page.getByRole('textbox', { name: 'Line to copy' }).inputValue(), /^jdbc:/)

  await tabTo(page, 'Down')
  await page.keyboard.press('Enter')
  assert.deepEqual(await applications(), ['small', 'large'])
  const heading = page.getByRole('columnheader', { name: 'Down' })
  assert.equal(await heading.getAttribute('aria-sort'), 'ascending')
  await page.keyboard.press('Enter')
  assert.deepEqual(await applications(), ['large', 'small'])
  assert.equal(await heading.getAttribute('aria-sort'), 'descending')
})

test('a proxy that stops, and one that is gone, are told of', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!)
  await page.locator('#overall', { hasText: 'Ready' }).waitFor()
  const drained = daemon.drain()
  await page.locator('#overall', { hasText: 'Stopping' }).waitFor()
  await client.end()
  await drained
  await page.getByText('lakebase-proxy does not answer').waitFor()
  assert.equal(await page.title(), 'Not answering · lakebase-proxy')
})

test('no name of a session, a target or an error becomes markup', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const evil = '<img src=x onerror=alert(1)>'
  const { page, complaints } = await openPage(await openBrowser(t), daemon.adminUrl!)
  await connectedClient(t, port, { user: evil, application_name: evil })
  await assert.rejects(connectedClient(t, port, { database: evil }))
  await page.getByRole('cell', { name: evil }).first().waitFor()
  await page.locator('#failures li').filter({ hasText: evil }).waitFor()
  assert.equal(await page.locator('main img').count(), 0)
  assert.deepEqual(complaints, [])
})

/** How far the page can be scrolled sideways, in px. */
function sidewaysScroll(page: Page): Promise<number> {
  return page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  )
}

/** Presses Tab until what has this name is in focus. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    await page.keyboard.press('Tab')
    const focused = await page.evaluate<string>(
      '(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()',
    )
    if (focused === name) return
  }
  assert.fail(`"${name}" cannot be reached with Tab`)
}
