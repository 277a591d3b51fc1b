/** A thousand clients at once before a proxy that was just started, its far side the emulator. */

import type { Socket } from 'node:net'

import { startEmulator } from '../support/emulator-control.js'
import type { Bench } from './bench.js'
import { freePort } from './processes.js'
import { openSessions } from './sessions.js'
import { startProxyProcess } from './ways.js'

const CLIENTS = 1_000

export async function measureCrowd(bench: Bench): Promise<void> {
  if (!bench.ways.includes('proxy')) return
  const emulator = await startEmulator({ maxConnections: CLIENTS + 50 })
  try {
    for (let round = 0; round < Math.min(bench.rounds, 3); round++) {
      const before = emulator.control.callCount('credentials')
      const port = await freePort()
      const args = ['demo-instance', '--port', String(port), '--admin-port', '0']
      const proxy = startProxyProcess(args, bench.folder, emulator.env)
      const sockets: Socket[] = []
      try {
        await proxy.listening(port)
        const startedAt = performance.now()
        await openSessions(port, CLIENTS, sockets, { atOnce: CLIENTS })
        bench.samples.add('crowd', 'proxy', {
          'served of 1,000': sockets.length,
          'credential calls': emulator.control.callCount('credentials') - before,
          's until the last': (performance.now() - startedAt) / 1000,
        })
      } finally {
        for (const socket of sockets) socket.destroy()
        await proxy.stop('SIGKILL')
      }
    }
  } finally {
    await emulator.close()
  }
}
