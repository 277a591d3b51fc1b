/** The metrics, read by an independent parser, compared with what the test did. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { parser } from '@prometheus-io/lezer-promql'
import { parse } from 'yaml'

import { emulatorForTests, needsPsql } from './support/emulator.js'
import { Scrape } from './support/prometheus.js'
import { connectedClient, proxyBefore, psql } from './support/proxy.js'
import { connect } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator

const target = 'demo-instance'

test('sessions, bytes, phases, errors and credentials are what they were', async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0, maxConnections: 3 })
  const url = daemon.adminUrl!
  await log.seen(({ message }) => message === 'credential refreshed')

  const before = await Scrape.of(url)
  assert.equal(before.value('lakebase_proxy_sessions_total', { target, outcome: 'closed' }), 0)
  assert.equal(before.value('lakebase_proxy_errors_total', { target, kind: 'dial' }), 0)

  const held = await connectedClient(t, port)
  const short = await connectedClient(t, port)
  await short.end()
  await log.seen(({ facts }) => facts.outcome === 'closed')
  await assert.rejects(connectedClient(t, port, { database: 'nowhere' }), { code: '3D000' })
  await log.seen(({ facts }) => facts.outcome === 'failed')
  const probe = await connect(port)
  probe.destroy()
  await log.seen(({ facts }) => facts.outcome === 'probe')

  const after = await Scrape.of(url)
  const total = (outcome: string): number =>
    after.value('lakebase_proxy_sessions_total', { target, outcome })
  assert.deepEqual([total('closed'), total('failed'), total('probe')], [1, 1, 1])
  assert.equal(after.value('lakebase_proxy_sessions_open', { target }), 1)
  assert.equal(after.value('lakebase_proxy_sessions_limit', { target }), 3)
  assert.equal(after.value('lakebase_proxy_errors_total', { target, kind: 'target' }), 1)
  for (const phase of ['client-handshake', 'resolve', 'dial', 'tls', 'login']) {
    const count = after.value('lakebase_proxy_connect_seconds_count', { target, phase })
    assert.equal(count, 2, phase)
  }
  assert.match(after.text, /^# TYPE lakebase_proxy_connect_seconds histogram$/m)
  const refreshes = { target, outcome: 'succeeded' }
  assert.equal(after.value('lakebase_proxy_credential_refreshes_total', refreshes), 1)
  const expiresAt = after.value('lakebase_proxy_credential_expires_at_seconds', { target })
  assert.ok(Math.abs(expiresAt - (Date.now() / 1000 + 3_600)) < 30)
  assert.ok(after.value('process_resident_memory_bytes') > 1_000_000)
  await held.end()
})

test('bytes are counted while they move, and each once', async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = daemon.adminUrl!
  const down = async (): Promise<number> =>
    (await Scrape.of(url)).value('lakebase_proxy_bytes_total', { target, direction: 'down' })

  const client = await connectedClient(t, port)
  const atFirst = await down()
  await client.query("select repeat('x', 1000000)")
  const open = await down()
  assert.ok(open - atFirst >= 1_000_000 && open - atFirst < 1_001_000, `${open - atFirst} bytes`)
  await client.end()
  await log.seen(({ facts }) => facts.outcome === 'closed')
  assert.equal(await down(), open)
  const scrape = await Scrape.of(url)
  const up = scrape.value('lakebase_proxy_bytes_total', { target, direction: 'up' })
  assert.equal(up, log.lines.find(({ facts }) => facts.outcome === 'closed')?.facts.bytesUp)
})

test('cancels are counted by outcome, and do not count as sessions', {
  skip: needsPsql,
}, async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  const args = ['-XAtq', '-h', '127.0.0.1', '-p', `${port}`, '-c', 'select pg_sleep(60)']
  const sleeper = spawn('psql', args, { env: { PATH: process.env.PATH, PGUSER: 'me' } })
  const exited = once(sleeper, 'exit')
  const sleeping = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'"
  while ((await control.query(sleeping))[0]?.[0] === '0');
  sleeper.kill('SIGINT')
  await log.seen(({ message }) => message === 'cancel request delivered')
  assert.deepEqual(await exited, [1, null])
  const scrape = await Scrape.of(daemon.adminUrl!)
  const cancels = (outcome: string): number =>
    scrape.value('lakebase_proxy_cancels_total', { target, outcome })
  assert.deepEqual([cancels('delivered'), cancels('failed')], [1, 0])
  const asSession = { target, outcome: 'cancel request' }
  assert.ok(Number.isNaN(scrape.value('lakebase_proxy_sessions_total', asSession)))
})

test('a refused credential counts as a failed refresh and a failed session', {
  skip: needsPsql,
}, async (t) => {
  control.failApi('credentials', { status: 403, errorCode: 'PERMISSION_DENIED', message: 'no' })
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { code } = await psql(`host=127.0.0.1 port=${port} user=me`, 'select 1')
  assert.notEqual(code, 0)
  const scrape = await Scrape.of(daemon.adminUrl!)
  const failed = { target, outcome: 'failed' }
  assert.ok(scrape.value('lakebase_proxy_credential_refreshes_total', failed) >= 1)
  assert.equal(scrape.value('lakebase_proxy_sessions_total', failed), 1)
  assert.ok(Number.isNaN(scrape.value('lakebase_proxy_credential_expires_at_seconds', { target })))
})

test('two proxies in one process count apart', async (t) => {
  const one = await proxyBefore(t, emulator, { adminPort: 0 })
  const two = await proxyBefore(t, emulator, { adminPort: 0, targets: ['demo-instance'] })
  await connectedClient(t, one.port)
  const open = async (url: string): Promise<number> =>
    (await Scrape.of(url)).value('lakebase_proxy_sessions_open', { target })
  assert.deepEqual([await open(one.daemon.adminUrl!), await open(two.daemon.adminUrl!)], [1, 0])
})

test('the dashboard and the alerts ask, in right PromQL, only for metrics that are there', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0, maxConnections: 10 })
  await connectedClient(t, port)
  const scrape = await Scrape.of(daemon.adminUrl!)
  const dashboard = JSON.parse(readFileSync('docker/grafana-dashboard.json', 'utf8'))
  const alerts = parse(readFileSync('docker/alerts.yaml', 'utf8'))
  const panels: { targets: { expr: string }[] }[] = dashboard.panels
  const groups: { rules: { expr: string }[] }[] = alerts.groups
  const expressions = [
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
  ]
  assert.ok(expressions.length > 20)
  for (const expression of expressions) {
    const selectors = vectorSelectors(expression)
    assert.ok(selectors.length > 0, expression)
    for (const { metric, labels } of selectors) {
      const series = scrape.series(metric)[0]
      assert.ok(series !== undefined, `no metric ${metric}: ${expression}`)
      for (const label of labels) {
        assert.ok(series.labels?.[label] !== undefined, `${metric} has no label ${label}`)
      }
    }
  }
})

test('every alert has a section of the runbook, and the runbook none that no alert needs', () => {
  const { groups } = parse(readFileSync('docker/alerts.yaml', 'utf8')) as {
    groups: { rules: { alert: string; annotations: Record<string, string> }[] }[]
  }
  const rules = groups.flatMap(({ rules }) => rules)
  const runbook = readFileSync('docs/runbook.md', 'utf8')
  const sections = runbook.split(/^## /m).slice(1)
  assert.deepEqual(
    sections.map((section) => section.slice(0, section.indexOf('\n'))),
    rules.map(({ alert }) => alert),
  )
  for (const { alert, annotations } of rules) {
    assert.equal(annotations.runbook_url, `docs/runbook.md#${alert.toLowerCase()}`)
    assert.ok(annotations.summary && annotations.description, alert)
  }
  for (const section of sections) {
    assert.match(section, /\*\*Means:\*\* .*\*\*Look at:\*\* .*\*\*Type:\*\* /s)
  }
})

test('every panel of the dashboard says what it shows', () => {
  const { panels } = JSON.parse(readFileSync('docker/grafana-dashboard.json', 'utf8'))
  for (const { title, description } of panels as { title: string; description?: string }[]) {
    assert.ok((description ?? '').length > 40, title)
  }
})

/** Throws where it is not PromQL, once Grafana has filled in its variables. */
function vectorSelectors(expression: string): { metric: string; labels: string[] }[] {
  const text = expression.replaceAll('$__rate_interval', '5m')
  const found: { metric: string; labels: string[] }[] = []
  parser.parse(text).iterate({
    enter(node) {
      const source = text.slice(node.from, node.to)
      assert.ok(!node.type.isError, `not PromQL at "${source}": ${text}`)
      if (node.name === 'VectorSelector') found.push({ metric: '', labels: [] })
      if (node.name === 'Identifier') found.at(-1)!.metric = source
      if (node.name === 'LabelName' && node.matchContext(['UnquotedLabelMatcher'])) {
        found.at(-1)!.labels.push(source)
      }
    },
  })
  return found
}
