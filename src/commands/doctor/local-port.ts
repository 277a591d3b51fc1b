/** The last step of `doctor`: is the port free that clients are to connect to, or who holds it? */

import type { ProxySettings, TargetSettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'
import { isFree, nextFreePort, portHolder } from '../../listener/port-holder.js'
import { AdminClient, adminAddress } from '../running/admin-client.js'
import { ownerOf, type RunningFile } from '../running/running-proxies.js'
import type { DoctorReport } from './report.js'

export interface OwnProxies {
  readonly running: readonly RunningFile[]
  /** Where a proxy of another user or of a program would be asked. */
  readonly admin: ProxySettings['admin']
}

export async function checkLocalPort(
  report: DoctorReport,
  { listen: { addresses, port } }: TargetSettings,
  own: OwnProxies,
): Promise<void> {
  if (port === 0) return report.skip('local port', 'a free one is taken')
  await report.step('local port', async () => {
    const taken = await firstTaken(addresses, port)
    if (taken === undefined) return { value: true, text: `${port} is free` }
    const ours = await ourHolder(port, own)
    if (ours !== undefined) {
      const text = `${port} is held by a lakebase-proxy that runs: ${ours}`
      const fix = 'Nothing to do, if it is the one you mean: lakebase-proxy status'
      return { value: true, outcome: 'warning' as const, text, fix }
    }
    const [holder, free] = await Promise.all([portHolder(port), nextFreePort(port)])
    const by = holder === undefined ? '' : ` by ${holder}`
    const hint =
      free === undefined ? 'Choose another with --port.' : `Choose another: --port ${free} is free.`
    throw new ProxyError('config', `port ${port} on ${taken} is in use${by}`, { hint })
  })
}

/** What it serves there. */
async function ourHolder(
  port: number,
  { running, admin }: OwnProxies,
): Promise<string | undefined> {
  const known = ownerOf(port, running)
  if (known !== undefined) return `${known.names} (pid ${known.pid})`
  if (admin === undefined || ('port' in admin && admin.port === 0)) return undefined
  const answer = await new AdminClient(adminAddress(admin)).tryAsk('/status').catch(() => undefined)
  const targets: unknown = answer?.body.targets
  if (!Array.isArray(targets)) return undefined
  const found: unknown = targets.find((each) => each?.port === port)
  return found === undefined ? undefined : String((found as { name: unknown }).name)
}

async function firstTaken(addresses: readonly string[], port: number): Promise<string | undefined> {
  for (const address of addresses) if (!(await isFree(port, address))) return address
  return undefined
}
