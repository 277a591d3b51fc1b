/** A foreign web page, in a browser on this machine, cannot stop, read or use the proxy. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'

import type { Page } from 'playwright-core'

import { needsChromium, openBrowser, openPage } from './support/browser.js'
import { emulatorForTests } from './support/emulator.js'
import { proxyBefore } from './support/proxy.js'

const emulator = await emulatorForTests()
const skip = needsChromium

const ATTACKER = 'attacker.test'

test('the admin port cannot be read: fetch, WebSocket, EventSource, image, script, frame', {
  skip,
}, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const page = await attackersPage(t)
  for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]']) {
    const admin = `${host}:${new URL(daemon.adminUrl!).port}`
    for (const path of ['/status', '/metrics', '/', '/events', '/readiness']) {
      assert.equal(await inPage(page, `fetch('http://${admin}${path}')`), 'failed', path)
    }
    const opaque = `fetch('http://${admin}/status', { mode: 'no-cors' }).then((r) => r.text())`
    assert.equal(await inPage(page, `${opaque}.then((text) => text || 'empty')`), 'failed')
    for (const attempt of [
      loads(`new WebSocket('ws://${admin}/events')`, 'open'),
      loads(`new EventSource('http://${admin}/events')`, 'open'),
      loads(element('img', `http://${admin}/icon.svg`), 'load'),
      loads(element('script', `http://${admin}/words.js`), 'load'),
    ]) {
      assert.equal(await inPage(page, attempt), 'failed', attempt)
    }
  }
  const framed = element('iframe', `${daemon.adminUrl}/`)
  await inPage(page, `new Promise((resolve) => { (${framed}).onload = resolve })`)
  assert.equal(await page.frames().at(-1)!.getByRole('heading').count(), 0)
})

test('the admin port cannot be told to stop: fetch, form, beacon', { skip }, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = `${daemon.adminUrl}/shutdown`
  const page = await attackersPage(t)
  for (const init of [
    `{ method: 'POST' }`,
    `{ method: 'POST', mode: 'no-cors' }`,
    `{ method: 'POST', mode: 'no-cors', body: 'x' }`,
    `{ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }`,
    `{ method: 'PUT' }`,
  ]) {
    await inPage(page, `fetch('${url}', ${init})`)
    assert.equal(daemon.phase, 'running', init)
  }
  await inPage(page, `navigator.sendBeacon('${url}', 'x')`)
  const answered = page.waitForResponse(url)
  await inPage(
    page,
    `const form = document.createElement('form')
     form.method = 'post'
     form.action = '${url}'
     document.body.append(form)
     form.submit()`,
  )
  assert.equal((await answered).status(), 403)
  assert.equal(daemon.phase, 'running')
})

test('a name that was rebound to this machine gets nothing', { skip }, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { port } = new URL(daemon.adminUrl!)
  const origin = `http://${ATTACKER}:${port}`
  const browser = await openBrowser(t, [ATTACKER])
  const { page } = await openPage(browser, `${origin}/`)
  // Same origin, as the browser sees it: what stands between them is the Host alone.
  assert.doesNotMatch((await page.locator('body').textContent()) ?? '', /demo-instance/)
  const status = async (path: string, init = '{}'): Promise<string> =>
    inPage(page, `fetch('${path}', ${init}).then((r) => String(r.status))`)
  for (const path of ['/', '/status', '/metrics', '/events', '/liveness']) {
    assert.equal(await status(path), '403', path)
  }
  assert.equal(await status('/shutdown', `{ method: 'POST' }`), '403')
  assert.equal(daemon.phase, 'running')
})

test('the PostgreSQL port cannot be used: nothing is answered, and nothing goes further', {
  skip,
}, async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  await log.seen(({ message }) => message === 'credential refreshed')
  const accepted = emulator.control.acceptedCount
  const startup = String.raw`'\0\0\0\x11\0\x03\0\0user\0me\0\0'`
  const page = await attackersPage(t)
  const answers: string[] = []
  page.on('response', (response) => answers.push(response.url()))
  for (const host of ['127.0.0.1', 'localhost', ATTACKER]) {
    const url = `http://${host}:${port}/`
    for (const attempt of [
      `fetch('${url}')`,
      `fetch('${url}', { method: 'POST', mode: 'no-cors', body: ${startup} })`,
      loads(`new WebSocket('ws://${host}:${port}/')`, 'open'),
      loads(`new WebSocket('wss://${host}:${port}/')`, 'open'),
      loads(element('img', url), 'load'),
      loads(element('script', `https://${host}:${port}/`), 'load'),
    ]) {
      assert.equal(await inPage(page, attempt), 'failed', attempt)
    }
  }
  const posted = page.waitForEvent('requestfailed')
  await inPage(
    page,
    `const form = document.createElement('form')
     form.method = 'post'
     form.enctype = 'text/plain'
     form.action = 'http://127.0.0.1:${port}/'
     const input = document.createElement('input')
     input.name = ${startup}
     form.append(input)
     document.body.append(form)
     form.submit()`,
  )
  await posted
  assert.deepEqual(answers, [])
  assert.equal(emulator.control.acceptedCount, accepted, 'no upstream was dialled')
  const [target] = daemon.status().targets
  assert.deepEqual([target?.totals.connected, target?.totals.bytesDown], [0, 0])
})

/** A page at another origin, which has no rules for itself. */
async function attackersPage(t: TestContext): Promise<Page> {
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<body>hello</body>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const browser = await openBrowser(t, [ATTACKER])
  const { port } = server.address() as AddressInfo
  return (await openPage(browser, `http://${ATTACKER}:${port}/`)).page
}

/** What the script's promise comes to, as text; `failed` when it is rejected. */
function inPage(page: Page, script: string): Promise<string> {
  const isStatements = script.includes('\n')
  const body = isStatements ? `(async () => { ${script} })()` : `(async () => ${script})()`
  return page.evaluate<string>(`${body}.then((value) => String(value ?? 'done'), () => 'failed')`)
}

/** Rejects on the thing's `error`, or when it does not come to `event`. */
function loads(thing: string, event: string): string {
  return `new Promise((resolve, reject) => { const thing = ${thing}; thing.on${event} = () => resolve('loaded'); thing.onerror = reject })`
}

function element(name: string, url: string): string {
  return `(() => { const it = document.createElement('${name}'); it.src = '${url}'; document.body.append(it); return it })()`
}
