/** The status page in a real browser: what a person sees, copies and can reach. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Page } from 'playwright-core'

import { axeViolations, needsChromium, openBrowser, openPage } from './support/browser.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
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
    await page.getByText('No client is connected').waitFor()
    await page.getByRole('heading', { name: 'demo-instance' }).waitFor()
    assert.equal(await page.title(), 'Ready · lakebase-proxy', name)
    assert.deepEqual(await axeViolations(page), [], `${name}, no client connected`)

    const refreshed = page.locator('.target').first().locator('[data-of=refreshed]')
    await refreshed.filter({ hasText: 'expires at' }).waitFor()
    const [before] = /expires at .*/.exec((await refreshed.textContent())!)!

    const application = `app ${shape.viewport.width} ${shape.colorScheme}`
    const client = await connectedClient(t, port, { application_name: application })
    const row = page.getByRole('row').filter({ hasText: application })
    await row.waitFor()
    await client.query("select repeat('x', 2000000)")
    await row.getByText('2.0 MB').waitFor()

    const database = `gone_${shape.viewport.width}_${shape.colorScheme}`
    await assert.rejects(connectedClient(t, port, { database }))
    const failure = page.locator('#failures li').filter({ hasText: database })
    await failure.getByText(`database "${database}" does not exist`).waitFor()
    await failure.getByText('Name a database that exists').waitFor()
    assert.match((await failure.textContent()) ?? '', /session [0-9a-f]{8}, in login/)

    await page.locator('.plot canvas').first().waitFor()
    await refreshed.filter({ hasText: 'expires at', hasNotText: before }).waitFor()
    assert.deepEqual(await axeViolations(page), [], `${name}, with a session and an error`)
    assert.equal(await sidewaysScroll(page), 0, name)

    await client.end()
    await page.getByText('No client is connected').waitFor()
    assert.deepEqual(complaints, [], name)
    await page.context().close()
  }
})

test('until the first state comes no empty part is shown, and then nothing moves', {
  skip,
}, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const browser = await openBrowser(t)
  for (const { viewport } of SHAPES.filter(({ colorScheme }) => colorScheme === 'light')) {
    const page = await browser.newPage({ viewport })
    let letGo = (): void => {}
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    await page.route('**/events', async (route) => {
      await held
      await route.continue()
    })
    await page.goto(daemon.adminUrl!)
    await page.locator('#overall', { hasText: 'Loading' }).waitFor()
    assert.deepEqual(await page.locator('body :visible:is(h1, h2, p, dt)').allTextContents(), [
      'lakebase-proxy',
      'Loading',
      '', // what the screen reader is told: 1 px
    ])
    letGo()
    await page.getByRole('heading', { name: 'demo-instance' }).waitFor()
    await page.locator('.plot canvas').last().waitFor()
    const moved = await page.evaluate(`new Promise((resolve) => {
      const observer = new PerformanceObserver((list) => resolve(list.getEntries().length))
      observer.observe({ type: 'layout-shift', buffered: true })
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(0)))
    })`)
    assert.equal(moved, 0, `${viewport.width} px`)
    await page.close()
  }
})

test('a time of day, a duration and an age have one form each', async () => {
  const file = new URL('../../src/observe/page/words.js', import.meta.url).href
  const { ago, between, inTime, timeOfDay } = await import(file)
  assert.equal(timeOfDay(new Date(2026, 0, 5, 0, 2, 3).getTime()), '00:02:03')
  assert.equal(timeOfDay(new Date(2026, 0, 5, 14, 30).getTime()), '14:30:00')
  for (const [ms, words] of [
    ...([
      [0, '0 s'],
      [0.31, '0.3 ms'],
      [9.97, '10 ms'],
      [999.6, '1.0 s'],
      [1_500, '1.5 s'],
    ] as const),
    ...([
      [3_000, '3 s'],
      [12_900, '12 s'],
      [245_000, '4 min 05 s'],
      [2_900_000, '48 min'],
    ] as const),
    ...([
      [7_500_000, '2 h 5 min'],
      [273_600_000, '3 d 4 h'],
    ] as const),
  ] as const) {
    assert.equal(inTime(ms), words)
  }
  assert.equal(between(1_000, 2_700), '1 s')
  assert.equal(between(2_000, 1_000), '0 s')
  assert.equal(ago(1_000, 2_700), 'just now')
  assert.equal(ago(1_000, 62_700), '1 min 01 s ago')
})

test('the psql line that is copied runs as it is', { skip: skip || needsPsql }, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const permissions = ['clipboard-read', 'clipboard-write']
  const browser = await openBrowser(t)
  const { page } = await openPage(browser, daemon.adminUrl!, { permissions, ...SHAPES[0] })
  const copied = async (): Promise<string> => page.evaluate('navigator.clipboard.readText()')

  for (const place of ['.target', '#sessions']) {
    const line = page.locator(`${place} .line`)
    await line.getByRole('button', { name: 'Copy' }).click()
    await line.getByRole('button', { name: 'Copied' }).waitFor()
    const { stdout, stderr } = await run('sh', ['-c', `${await copied()} -XAtc 'select 41 + 1'`])
    assert.equal(stdout, '42\n', stderr)
    await page.evaluate("navigator.clipboard.writeText('')")
  }

  const line = page.locator('.target code[data-of=line]')
  for (const [tool, form] of [
    ['JDBC', /^jdbc:postgresql:\/\/localhost:\d+\/databricks_postgres\?user=ada%40example\.com/],
    [
      'URI',
      /^postgresql:\/\/ada%40example\.com@localhost:\d+\/databricks_postgres\?sslmode=disable$/,
    ],
    ['DBeaver', /^dbeaver -con 'driver=postgresql\|.*host=localhost\|/],
    ['SQLAlchemy', /^postgresql\+psycopg:\/\/ada%40example\.com@localhost:\d+\//],
  ] as const) {
    await page.getByRole('radio', { name: tool }).check()
    assert.match((await line.textContent())!, form)
    const hidden = await line.evaluate((code) => {
      const { scrollWidth, clientWidth } = code as unknown as Record<string, number>
      return scrollWidth! - clientWidth!
    })
    assert.equal(hidden, 0, `${tool}: all of the line is seen`)
  }
})

test('DBeaver has the fields of its dialog beside its line', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!)
  const fields = page.locator('.target .fields')
  await page.getByRole('radio', { name: 'psql' }).check()
  assert.equal(await fields.isVisible(), false)
  await page.getByRole('radio', { name: 'DBeaver' }).check()
  await fields.getByText('ada@example.com').waitFor()
  assert.deepEqual(
    (await fields.locator('dt, dd').allTextContents()).join('|'),
    `Host|localhost|Port|${port}|Database|databricks_postgres|Username|ada@example.com|Password|leave it empty`,
  )
  assert.deepEqual(await axeViolations(page), [])
})

test('a stopped instance is shown as stopped, with the command that starts it in place of its token', {
  skip,
}, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, targets: ['stopped-instance'] },
  })
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!, SHAPES[0])
  await page.locator('.target .state', { hasText: 'Stopped' }).waitFor()
  assert.equal(await page.title(), 'Stopped · lakebase-proxy')
  const command = await page.locator('code[data-of=start-command]').textContent()
  assert.equal(command, 'lakebase-proxy instances start stopped-instance')
  assert.equal(await page.locator('progress').isVisible(), false)
  assert.deepEqual(await axeViolations(page), [])
})

test('equal errors are one entry with their number', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!)
  await assert.rejects(connectedClient(t, port, { database: 'once' }))
  for (let i = 0; i < 3; i++) await assert.rejects(connectedClient(t, port, { database: 'gone' }))
  const failures = page.locator('#failures li')
  await failures.filter({ hasText: '3 times' }).waitFor()
  assert.equal(await failures.count(), 2)
  assert.match((await failures.first().textContent()) ?? '', /latest session .*\s+first .*, last/)
  assert.equal(await page.locator('#failures-count').textContent(), '4')
})

test('a session is one line on a phone, and all its columns can be had', { skip }, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const names = ['psql', 'a name that is much too long for the column of a phone']
  for (const name of names) await connectedClient(t, port, { application_name: name })
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!, SHAPES[0])
  const rows = page.locator('#sessions tbody tr')
  await rows.nth(1).waitFor()
  const columns = (): Promise<string[]> =>
    page
      .locator('#sessions tbody tr:first-child td:visible')
      .evaluateAll((cells) =>
        cells.map((cell) => (cell as unknown as { dataset: { label: string } }).dataset.label),
      )
  assert.deepEqual(await columns(), ['Application', 'Database', 'Age', 'Down'])
  const heights = await Promise.all([0, 1].map((row) => rows.nth(row).boundingBox()))
  for (const box of heights) assert.ok(box !== null && box.height < 40, `${box?.height} px`)
  assert.equal(await sidewaysScroll(page), 0)
  assert.deepEqual(await axeViolations(page), [])
  await page.getByRole('checkbox', { name: 'All columns' }).check()
  assert.ok((await columns()).includes('Role'))
  assert.equal(await sidewaysScroll(page), 0)
  assert.deepEqual(await axeViolations(page), [])
})

test('cards of a row are of one height', { skip }, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, targets: ['demo-instance', 'no-such-instance'] },
  })
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!, SHAPES.at(-1))
  await page.locator('.target .state', { hasText: 'Unavailable' }).waitFor()
  for (const part of ['.target', '.target .connect', '.charts figure']) {
    const boxes = await Promise.all(
      (await page.locator(part).all()).map((each) => each.boundingBox()),
    )
    assert.equal(new Set(boxes.map((box) => Math.round(box!.y + box!.height))).size, 1, part)
  }
})

test('a stream that carries nothing is told of, and no old value is shown as if it were live', {
  skip,
}, async (t) => {
  const clock = new FakeClock() // events come only when it is advanced
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  await connectedClient(t, port)
  await clock.advance(5_000)
  const { page } = await openPage(await openBrowser(t), daemon.adminUrl!)
  const sessions = page.locator('.charts figure').first()
  await sessions.getByText('open 1').waitFor()
  await page.getByText('lakebase-proxy does not answer').waitFor()
  assert.equal(await page.title(), 'Not answering · lakebase-proxy')
  await sessions.getByText('no data since').waitFor()
  await sessions.getByText('open –').waitFor()

  await clock.advance(60_000)
  await page.locator('#overall', { hasText: 'Ready' }).waitFor()
  assert.equal(await page.getByText('lakebase-proxy does not answer').isVisible(), false)
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
  assert.match((await page.locator('code[data-of=line]').textContent())!, /^postgresql:/)

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
