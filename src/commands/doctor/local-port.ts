/** The last step of `doctor`: is the port free that clients are to connect to, or who holds it? */

import http from 'node:http'
import net from 'node:net'

import type { ProxySettings, TargetSettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'
import { nextFreePort, portHolder } from '../../listener/port-holder.js'
import type { DoctorReport } from './report.js'

export async function checkLocalPort(
  report: DoctorReport,
  { listen: { addresses, port } }: TargetSettings,
  admin: ProxySettings['admin'],
): Promise<void> {
  if (port === 0) return report.skip('local port', 'a free one is taken')
  await report.step('local port', async () => {
    const taken = await firstTaken(addresses, port)
    if (taken === undefined) return { value: true, text: `${port} is free` }
    if (await isOurs(admin)) {
      const text = `${port} is held by a lakebase-proxy that runs`
      return {
        value: true,
        outcome: 'warning' as const,
        text,
        fix: 'Nothing to do, if it is the one you mean: lakebase-proxy status',
      }
    }
    const [holder, free] = await Promise.all([portHolder(port), nextFreePort(port)])
    const by = holder === undefined ? '' : ` by ${holder}`
    const hint =
      free === undefined ? 'Choose another with --port.' : `Choose another: --port ${free} is free.`
    throw new ProxyError('config', `port ${port} on ${taken} is in use${by}`, { hint })
  })
}

async function firstTaken(addresses: readonly string[], port: number): Promise<string | undefined> {
  for (const address of addresses) if (await isTaken(address, port)) return address
  return undefined
}

function isTaken(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE'))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(false)))
  })
}

const ADMIN_PATIENCE_MS = 1_000

/** Only a lakebase-proxy answers so at the admin port. */
function isOurs(admin: ProxySettings['admin']): Promise<boolean> {
  if (admin === undefined) return Promise.resolve(false)
  const where =
    'socket' in admin ? { socketPath: admin.socket } : { host: admin.address, port: admin.port }
  const headers = { host: 'localhost' }
  return new Promise((resolve) => {
    const request = http.get({ ...where, path: '/metrics', headers, timeout: ADMIN_PATIENCE_MS })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', () => resolve(false))
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve(text.includes('lakebase_proxy_')))
      response.on('error', () => resolve(false))
    })
  })
}
